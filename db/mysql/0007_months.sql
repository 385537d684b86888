-- Before when an archiver keeps no rows of a channel, at the begin of a month (nanoseconds since 1970, UTC): a month of
-- which that is said of all its channels goes as a whole. A channel without a row here keeps all.

CREATE TABLE IF NOT EXISTS expired (
    channel_id INT UNSIGNED NOT NULL PRIMARY KEY,
    until_time BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
