-- The archive: the tables of the Phoebus RDB archive, so that its Data Browser reads them by jdbc:mysql, and some more.
-- Every statement may run again, for MySQL commits each by itself; the version is written after the last one.
-- Names that differ in case only are different names: the collation is _bin.

CREATE TABLE IF NOT EXISTS archive_schema (
    id      INT NOT NULL PRIMARY KEY,
    version INT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Tables that Phoebus' own programs look for; rackioc neither reads them nor adds rows.
CREATE TABLE IF NOT EXISTS smpl_eng (
    eng_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name   VARCHAR(100) NOT NULL,
    descr  VARCHAR(100) NOT NULL,
    url    VARCHAR(100) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS retent (
    retent_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    descr     VARCHAR(255) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO retent (retent_id, descr) VALUES (30, 'Months'), (9999, 'Forever')
    ON DUPLICATE KEY UPDATE retent_id = retent_id;

CREATE TABLE IF NOT EXISTS chan_grp (
    grp_id           INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name             VARCHAR(100) NOT NULL,
    eng_id           INT UNSIGNED NOT NULL,
    descr            VARCHAR(100) NULL,
    enabling_chan_id INT UNSIGNED NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS smpl_mode (
    smpl_mode_id INT UNSIGNED NOT NULL PRIMARY KEY,
    name         VARCHAR(100) NOT NULL,
    descr        VARCHAR(100) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO smpl_mode (smpl_mode_id, name, descr) VALUES
    (1, 'Monitor', 'Store every update'), (2, 'Scan', 'Store the newest value once a period')
    ON DUPLICATE KEY UPDATE smpl_mode_id = smpl_mode_id;

CREATE TABLE IF NOT EXISTS channel (
    channel_id   INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name         VARCHAR(255) NOT NULL,
    descr        VARCHAR(100) NULL,
    grp_id       INT UNSIGNED NULL,
    smpl_mode_id INT UNSIGNED NULL,
    smpl_val     DOUBLE NULL,
    smpl_per     DOUBLE NULL,
    retent_id    INT UNSIGNED NULL,
    retent_val   DOUBLE NULL,
    UNIQUE INDEX channel_name_idx (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS severity (
    severity_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,  -- EPICS severity + 1
    name        VARCHAR(100) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO severity (severity_id, name) VALUES (1, 'OK'), (2, 'MINOR'), (3, 'MAJOR'), (4, 'INVALID')
    ON DUPLICATE KEY UPDATE severity_id = severity_id;

CREATE TABLE IF NOT EXISTS status (
    status_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name      VARCHAR(100) NOT NULL,
    UNIQUE INDEX status_name_idx (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One of num_val (integer, enum index), float_val and str_val is set; of an array float_val and array_val are.
-- The microseconds are in smpl_time too: with whole seconds there, Phoebus would look for the last row before its
-- window after that row's own time. No foreign keys: each row would be looked up in three more tables.
CREATE TABLE IF NOT EXISTS sample (
    channel_id  INT UNSIGNED NOT NULL,
    smpl_time   TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    nanosecs    INT UNSIGNED NOT NULL,             -- the fraction of smpl_time, in full microseconds
    severity_id INT UNSIGNED NOT NULL,
    status_id   INT UNSIGNED NOT NULL,
    num_val     INT NULL,
    float_val   DOUBLE NULL,
    str_val     TEXT NULL,                         -- also NaN, Infinity, -Infinity: no column of numbers holds them
    datatype    CHAR(1) CHARACTER SET binary NULL DEFAULT ' ',  -- ' ' scalar, 'd' array of doubles
    array_val   LONGBLOB NULL,                     -- number of elements (32 bits), then the doubles, all big-endian
    PRIMARY KEY (channel_id, smpl_time, nanosecs)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS num_metadata (
    channel_id     INT UNSIGNED NOT NULL PRIMARY KEY,
    low_disp_rng   DOUBLE NULL,
    high_disp_rng  DOUBLE NULL,
    low_warn_lmt   DOUBLE NULL,
    high_warn_lmt  DOUBLE NULL,
    low_alarm_lmt  DOUBLE NULL,
    high_alarm_lmt DOUBLE NULL,
    prec           INT NULL,
    unit           VARCHAR(100) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS enum_metadata (
    channel_id INT UNSIGNED NOT NULL,
    enum_nbr   INT NOT NULL,                       -- 0, 1, 2, ... without a gap
    enum_val   VARCHAR(120) NULL,
    PRIMARY KEY (channel_id, enum_nbr)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What num_metadata and enum_metadata held, and from when on (nanoseconds since 1970, UTC); the first of a channel
-- holds from the beginning (0).
CREATE TABLE IF NOT EXISTS num_metadata_history (
    channel_id     INT UNSIGNED NOT NULL,
    since_time     BIGINT NOT NULL,
    low_disp_rng   DOUBLE NULL,
    high_disp_rng  DOUBLE NULL,
    low_warn_lmt   DOUBLE NULL,
    high_warn_lmt  DOUBLE NULL,
    low_alarm_lmt  DOUBLE NULL,
    high_alarm_lmt DOUBLE NULL,
    prec           INT NULL,
    unit           VARCHAR(100) NOT NULL,
    PRIMARY KEY (channel_id, since_time)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS enum_metadata_history (
    channel_id INT UNSIGNED NOT NULL,
    since_time BIGINT NOT NULL,
    enum_nbr   INT NOT NULL,
    enum_val   VARCHAR(120) NOT NULL,
    PRIMARY KEY (channel_id, since_time, enum_nbr)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Of stretches that were thinned: all the numbers of a bin, of which some rows were kept. Times in nanoseconds.
CREATE TABLE IF NOT EXISTS sample_bin (
    channel_id INT UNSIGNED NOT NULL,
    bin_time   BIGINT NOT NULL,                    -- where it begins, since 1970, UTC
    width      BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    min_val    DOUBLE NOT NULL,
    max_val    DOUBLE NOT NULL,
    mean_val   DOUBLE NOT NULL,
    PRIMARY KEY (channel_id, bin_time)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Up to where the rows of a channel were thinned, in nanoseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS thinned (
    channel_id INT UNSIGNED NOT NULL PRIMARY KEY,
    until_time BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- For people: SELECT * FROM history WHERE name = 'LAB:TC1:T1' AND time > '2026-11-20T14' ORDER BY time;
-- The time is UTC whatever the time zone of the session.
CREATE OR REPLACE VIEW history AS
SELECT channel.name AS name,
       CONCAT(DATE_FORMAT(DATE_ADD('1970-01-01', INTERVAL FLOOR(UNIX_TIMESTAMP(smpl_time)) SECOND),
                          '%Y-%m-%dT%H:%i:%s.'), LPAD(nanosecs, 9, '0'), 'Z') AS time,
       COALESCE(
           (SELECT NULLIF(enum_val, '') FROM enum_metadata_history AS word
            WHERE word.channel_id = sample.channel_id AND enum_nbr = num_val
              AND since_time <= FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs
            ORDER BY since_time DESC LIMIT 1),
           str_val, num_val, float_val) AS value,
       CASE WHEN str_val IS NULL THEN COALESCE(
           (SELECT unit FROM num_metadata_history AS about
            WHERE about.channel_id = sample.channel_id
              AND since_time <= FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs
            ORDER BY since_time DESC LIMIT 1), '') ELSE '' END AS unit,
       severity.name AS severity,
       status.name AS status
FROM sample
JOIN channel ON channel.channel_id = sample.channel_id
JOIN severity ON severity.severity_id = sample.severity_id
JOIN status ON status.status_id = sample.status_id;
