// The time of the web server: the clock of the computer in front of somebody may be wrong, and set while they look.

// Milliseconds by which clocks may differ without being wrong: the server tells whole seconds.
const SLACK = 3000;
let ahead = 0;

/**
 * Take what an answer says of the server's time: it told it between the moment when it was asked and now. Over a slow network that
 * may be long ago, which says nothing against a clock.
 */
export function hearTime(answer, asked) {
  const told = Date.parse(answer.headers.get("Date"));
  if (Number.isNaN(told)) return;
  const least = told - Date.now();
  const most = least + 1000 + ago(asked);
  if (ahead < least - SLACK || ahead > most + SLACK) ahead = (least + most) / 2;
}

/** Return this moment, to ask later how long ago it was. */
export const moment = () => ({ clock: Date.now(), steady: performance.now() });

/** Return the milliseconds since a moment: a clock may be set back meanwhile, and the steady one rests while the computer sleeps. */
export const ago = ({ clock, steady }) => Math.max(Date.now() - clock, performance.now() - steady);

/** Return the seconds since 1970. */
export const now = () => (Date.now() + ahead) / 1000;
