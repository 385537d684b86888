-- PVs that have another name since a time: the history of both names is one.

CREATE TABLE renamed (
    old_pv     TEXT NOT NULL PRIMARY KEY,
    new_pv     TEXT NOT NULL,
    since_time INTEGER NOT NULL        -- from then on it is new_pv; nanoseconds since 1970, UTC
) WITHOUT ROWID;
