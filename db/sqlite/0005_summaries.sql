-- Summaries of the numbers of each channel, kept beside its rows: bins of a minute, an hour and a day.

-- A bin without a row is not stored: there the row before it is in force.
CREATE TABLE summary (
    channel_id        INTEGER NOT NULL,
    width             INTEGER NOT NULL,    -- nanoseconds
    bin_time          INTEGER NOT NULL,    -- where it begins, nanoseconds since 1970, UTC
    count             INTEGER NOT NULL,    -- rows whose number is known
    min_val           REAL,                -- of these rows, and of what was in force
    max_val           REAL,
    mean_val          REAL,                -- over the time for which each number was in force
    std_val           REAL,
    mean_rows         REAL,                -- of the rows
    alarm_ns          INTEGER NOT NULL,    -- how long it was in alarm, INVALID, and in a gap
    invalid_ns        INTEGER NOT NULL,
    gap_ns            INTEGER NOT NULL,
    severity_id       INTEGER NOT NULL,    -- the worst in force
    known_severity_id INTEGER NOT NULL,    -- the worst in force while the number was known
    last_time         INTEGER NOT NULL,    -- of the last row, which is in force when the bin ends
    last_severity_id  INTEGER NOT NULL,
    last_status_id    INTEGER NOT NULL,
    last_val          REAL,                -- NULL if it is not known
    is_integer        INTEGER NOT NULL,    -- 1: the numbers are integers
    PRIMARY KEY (channel_id, width, bin_time)
) WITHOUT ROWID;

-- From when until when all bins of a channel were made; what is after that, or in a hole, is read from the rows.
CREATE TABLE summarized (
    channel_id INTEGER PRIMARY KEY,
    begin_time INTEGER NOT NULL,
    until_time INTEGER NOT NULL            -- a multiple of an hour
);

-- Hours of which no bins were made, or of which a row came later (to_do = 1) and they are to be made again.
CREATE TABLE summary_hole (
    channel_id INTEGER NOT NULL,
    hour_time  INTEGER NOT NULL,
    to_do      INTEGER NOT NULL,
    PRIMARY KEY (channel_id, hour_time)
) WITHOUT ROWID;
