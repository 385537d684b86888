-- Samples arrive in the order of time and are moved in large sorted steps into the order of their channels, so that
-- neither writing many channels nor reading one of them slows down as the archive grows.

DROP VIEW history;

ALTER TABLE sample RENAME TO sample_settled;

-- In parts of 512 channels: each settles by itself, and a reader looks through few rows of other channels.
CREATE TABLE sample_recent (
    part        INTEGER NOT NULL,      -- channel_id / 512
    smpl_time   INTEGER NOT NULL,      -- nanoseconds since 1970, UTC
    channel_id  INTEGER NOT NULL REFERENCES channel (channel_id),
    severity_id INTEGER NOT NULL REFERENCES severity (severity_id),
    status_id   INTEGER NOT NULL REFERENCES status (status_id),
    num_val     INTEGER,
    float_val   REAL,
    str_val     TEXT,
    datatype    TEXT,                  -- NULL: scalar, 'd': array of doubles in array_val
    array_val   BLOB,                  -- number of elements (32 bits), then the doubles, all big-endian
    PRIMARY KEY (part, smpl_time, channel_id)
) WITHOUT ROWID;

-- All that is not later is in sample_settled, and nothing else.
CREATE TABLE settled (
    part      INTEGER PRIMARY KEY,
    smpl_time INTEGER NOT NULL
);
INSERT INTO settled SELECT channel_id / 512, max(smpl_time) FROM sample_settled GROUP BY channel_id / 512;

CREATE VIEW sample AS
SELECT channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, datatype, array_val
FROM sample_settled
UNION ALL
SELECT channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, datatype, array_val
FROM sample_recent;

-- What num_metadata and enum_metadata held, and from when on; the first of a channel holds from the beginning (0).
CREATE TABLE num_metadata_history (
    channel_id     INTEGER NOT NULL REFERENCES channel (channel_id),
    since_time     INTEGER NOT NULL,   -- nanoseconds since 1970, UTC
    low_disp_rng   REAL,
    high_disp_rng  REAL,
    low_warn_lmt   REAL,
    high_warn_lmt  REAL,
    low_alarm_lmt  REAL,
    high_alarm_lmt REAL,
    prec           INTEGER,
    unit           TEXT NOT NULL,
    PRIMARY KEY (channel_id, since_time)
) WITHOUT ROWID;

CREATE TABLE enum_metadata_history (
    channel_id INTEGER NOT NULL REFERENCES channel (channel_id),
    since_time INTEGER NOT NULL,
    enum_nbr   INTEGER NOT NULL,
    enum_val   TEXT NOT NULL,
    PRIMARY KEY (channel_id, since_time, enum_nbr)
) WITHOUT ROWID;

INSERT INTO num_metadata_history SELECT channel_id, 0, low_disp_rng, high_disp_rng, low_warn_lmt, high_warn_lmt,
    low_alarm_lmt, high_alarm_lmt, prec, unit FROM num_metadata;
INSERT INTO enum_metadata_history SELECT channel_id, 0, enum_nbr, enum_val FROM enum_metadata;

-- Of stretches that were thinned: all the numbers of a bin, of which some rows were kept.
CREATE TABLE sample_bin (
    channel_id INTEGER NOT NULL REFERENCES channel (channel_id),
    bin_time   INTEGER NOT NULL,       -- where it begins, nanoseconds since 1970, UTC
    width      INTEGER NOT NULL,       -- nanoseconds
    count      INTEGER NOT NULL,
    min_val    REAL NOT NULL,
    max_val    REAL NOT NULL,
    mean_val   REAL NOT NULL,
    PRIMARY KEY (channel_id, bin_time)
) WITHOUT ROWID;

CREATE TABLE thinned (
    channel_id INTEGER PRIMARY KEY REFERENCES channel (channel_id),
    until_time INTEGER NOT NULL        -- how far, nanoseconds since 1970, UTC
);

-- For people: SELECT * FROM history WHERE name = 'LAB:TC1:T1' AND time > '2026-11-20T14' ORDER BY time;
CREATE VIEW history AS
SELECT channel.name AS name,
       strftime('%Y-%m-%dT%H:%M:%S', smpl_time / 1000000000, 'unixepoch')
           || printf('.%09dZ', smpl_time % 1000000000) AS time,
       coalesce(
           (SELECT nullif(enum_val, '') FROM enum_metadata_history AS word
            WHERE word.channel_id = sample.channel_id AND since_time <= smpl_time AND enum_nbr = num_val
            ORDER BY since_time DESC LIMIT 1),
           str_val, num_val, float_val) AS value,
       CASE WHEN str_val IS NULL THEN coalesce(
           (SELECT unit FROM num_metadata_history AS about
            WHERE about.channel_id = sample.channel_id AND since_time <= smpl_time
            ORDER BY since_time DESC LIMIT 1), '') ELSE '' END AS unit,
       severity.name AS severity,
       status.name AS status
FROM sample
JOIN channel USING (channel_id)
JOIN severity USING (severity_id)
JOIN status USING (status_id);
