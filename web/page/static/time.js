// The time of the web server: the clock of the computer in front of somebody may be wrong, and set while they look.

// Milliseconds by which clocks may differ without being wrong: the server tells whole seconds, some while ago.
const SLACK = 3000;
let ahead = 0;

/** Take what an answer of the server says of its time. */
export function hearTime(answer) {
  const told = Date.parse(answer.headers.get("Date"));
  if (Number.isNaN(told)) return;
  const difference = told + 500 - Date.now();
  ahead = Math.abs(difference) > SLACK ? difference : 0;
}

/** Return this moment, to ask later how long ago it was. */
export const moment = () => ({ clock: Date.now(), steady: performance.now() });

/** Return the milliseconds since a moment: a clock may be set back meanwhile, and the steady one rests while the computer sleeps. */
export const ago = ({ clock, steady }) => Math.max(Date.now() - clock, performance.now() - steady);

/** Return the seconds since 1970. */
export const now = () => (Date.now() + ahead) / 1000;
