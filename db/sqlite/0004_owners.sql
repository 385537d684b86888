-- Several archivers in one archive: each has its own series of rows of a PV, and shows that it lives.

CREATE TABLE archiver (
    archiver_id INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,  -- archive.name of its configuration
    run         TEXT NOT NULL,         -- of the process that writes: host, process, begin; '' after it has stopped
    alive_time  INTEGER NOT NULL       -- all that it knew until then is stored; nanoseconds since 1970, UTC
);

-- A channel is a series of rows of one PV by one archiver; the first series of a PV has its name.
CREATE TABLE channel_owner (
    channel_id  INTEGER PRIMARY KEY REFERENCES channel (channel_id),
    archiver_id INTEGER NOT NULL REFERENCES archiver (archiver_id),
    pv          TEXT NOT NULL,
    UNIQUE (pv, archiver_id)
);
