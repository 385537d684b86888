-- Several archivers in one archive: each has its own series of rows of a PV, and shows that it lives.

CREATE TABLE IF NOT EXISTS archiver (
    archiver_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name        VARCHAR(100) NOT NULL,             -- archive.name of its configuration
    run         VARCHAR(255) NOT NULL,             -- of the process that writes: host, process, begin; '' after its stop
    alive_time  BIGINT NOT NULL,                   -- all that it knew until then is stored; nanoseconds since 1970, UTC
    UNIQUE INDEX archiver_name_idx (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A channel is a series of rows of one PV by one archiver; the first series of a PV has its name. A channel of an
-- archive that is older than this table belongs to the archiver that adds the next row to it.
CREATE TABLE IF NOT EXISTS channel_owner (
    channel_id  INT UNSIGNED NOT NULL PRIMARY KEY,
    archiver_id INT UNSIGNED NOT NULL,
    pv          VARCHAR(255) NOT NULL,
    UNIQUE INDEX channel_owner_idx (pv, archiver_id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
