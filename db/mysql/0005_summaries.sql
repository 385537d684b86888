-- Summaries of the numbers of each channel, kept beside its rows: bins of a minute, an hour and a day.

-- A bin without a row is not stored: there the row before it is in force.
CREATE TABLE IF NOT EXISTS summary (
    channel_id        INT UNSIGNED NOT NULL,
    width             BIGINT NOT NULL,             -- nanoseconds
    bin_time          BIGINT NOT NULL,             -- where it begins, nanoseconds since 1970, UTC
    count             BIGINT NOT NULL,             -- rows whose number is known
    min_val           DOUBLE NULL,                 -- of these rows, and of what was in force
    max_val           DOUBLE NULL,
    mean_val          DOUBLE NULL,                 -- over the time for which each number was in force
    std_val           DOUBLE NULL,
    mean_rows         DOUBLE NULL,                 -- of the rows
    alarm_ns          BIGINT NOT NULL,             -- how long it was in alarm, INVALID, and in a gap
    invalid_ns        BIGINT NOT NULL,
    gap_ns            BIGINT NOT NULL,
    severity_id       INT UNSIGNED NOT NULL,       -- the worst in force
    known_severity_id INT UNSIGNED NOT NULL,       -- the worst in force while the number was known
    last_time         BIGINT NOT NULL,             -- of the last row, which is in force when the bin ends
    last_severity_id  INT UNSIGNED NOT NULL,
    last_status_id    INT UNSIGNED NOT NULL,
    last_val          DOUBLE NULL,                 -- NULL if it is not known
    is_integer        TINYINT NOT NULL,            -- 1: the numbers are integers
    PRIMARY KEY (channel_id, width, bin_time)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- From when until when all bins of a channel were made; what is after that, or in a hole, is read from the rows.
CREATE TABLE IF NOT EXISTS summarized (
    channel_id INT UNSIGNED NOT NULL PRIMARY KEY,
    begin_time BIGINT NOT NULL,
    until_time BIGINT NOT NULL                     -- a multiple of an hour
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Hours of which no bins were made, or of which a row came later (to_do = 1) and they are to be made again.
CREATE TABLE IF NOT EXISTS summary_hole (
    channel_id INT UNSIGNED NOT NULL,
    hour_time  BIGINT NOT NULL,
    to_do      TINYINT NOT NULL,
    PRIMARY KEY (channel_id, hour_time)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
