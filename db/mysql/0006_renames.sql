-- PVs that have another name since a time: the history of both names is one.

CREATE TABLE IF NOT EXISTS renamed (
    old_pv     VARCHAR(255) NOT NULL PRIMARY KEY,
    new_pv     VARCHAR(255) NOT NULL,
    since_time BIGINT NOT NULL                     -- from then on it is new_pv; nanoseconds since 1970, UTC
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
