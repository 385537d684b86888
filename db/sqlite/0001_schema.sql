-- The archive: the tables of the Phoebus RDB archive, with times as one integer.

CREATE TABLE channel (
    channel_id INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE
);

CREATE TABLE severity (
    severity_id INTEGER PRIMARY KEY,   -- EPICS severity + 1
    name        TEXT NOT NULL UNIQUE
);
INSERT INTO severity (severity_id, name) VALUES (1, 'NO_ALARM'), (2, 'MINOR'), (3, 'MAJOR'), (4, 'INVALID');

CREATE TABLE status (
    status_id INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE
);

-- One of num_val (integer, enum index), float_val and str_val is set. SQLite would make NaN a NULL: it is text.
CREATE TABLE sample (
    channel_id  INTEGER NOT NULL REFERENCES channel (channel_id),
    smpl_time   INTEGER NOT NULL,      -- nanoseconds since 1970, UTC
    severity_id INTEGER NOT NULL REFERENCES severity (severity_id),
    status_id   INTEGER NOT NULL REFERENCES status (status_id),
    num_val     INTEGER,
    float_val   REAL,
    str_val     TEXT,
    datatype    TEXT,                  -- NULL: scalar, 'd': array of doubles in array_val
    array_val   BLOB,
    PRIMARY KEY (channel_id, smpl_time)
) WITHOUT ROWID;

CREATE TABLE num_metadata (
    channel_id     INTEGER PRIMARY KEY REFERENCES channel (channel_id),
    low_disp_rng   REAL,
    high_disp_rng  REAL,
    low_warn_lmt   REAL,
    high_warn_lmt  REAL,
    low_alarm_lmt  REAL,
    high_alarm_lmt REAL,
    prec           INTEGER,
    unit           TEXT NOT NULL
);

CREATE TABLE enum_metadata (
    channel_id INTEGER NOT NULL REFERENCES channel (channel_id),
    enum_nbr   INTEGER NOT NULL,
    enum_val   TEXT NOT NULL,
    PRIMARY KEY (channel_id, enum_nbr)
) WITHOUT ROWID;

-- For people: SELECT * FROM history WHERE name = 'LAB:TC1:T1' AND time > '2026-11-20T14' ORDER BY time;
CREATE VIEW history AS
SELECT channel.name AS name,
       strftime('%Y-%m-%dT%H:%M:%S', smpl_time / 1000000000, 'unixepoch')
           || printf('.%09dZ', smpl_time % 1000000000) AS time,
       coalesce(nullif(enum_val, ''), str_val, num_val, float_val) AS value,
       CASE WHEN str_val IS NULL THEN coalesce(unit, '') ELSE '' END AS unit,
       severity.name AS severity,
       status.name AS status
FROM sample
JOIN channel USING (channel_id)
JOIN severity USING (severity_id)
JOIN status USING (status_id)
LEFT JOIN num_metadata USING (channel_id)
LEFT JOIN enum_metadata ON enum_metadata.channel_id = sample.channel_id AND enum_nbr = num_val;
