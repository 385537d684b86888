-- What a row was is what its PV was then: a state has the words that held, a number that PV became none.

-- For people: SELECT * FROM history WHERE name = 'LAB:TC1:T1' AND time > '2026-11-20T14' ORDER BY time;
-- The time is UTC whatever the time zone of the session. There is no derived table, which would be made for all rows
-- before one is looked for.
CREATE OR REPLACE VIEW history AS
SELECT channel.name AS name,
       CONCAT(DATE_FORMAT(DATE_ADD('1970-01-01', INTERVAL FLOOR(UNIX_TIMESTAMP(smpl_time)) SECOND),
                          '%Y-%m-%dT%H:%i:%s.'), LPAD(nanosecs, 9, '0'), 'Z') AS time,
       COALESCE(
           (SELECT NULLIF(enum_val, '') FROM enum_metadata_history AS word
            WHERE word.channel_id = sample.channel_id AND enum_nbr = num_val
              AND since_time = (
                  SELECT MAX(since_time) FROM enum_metadata_history AS latest
                  WHERE latest.channel_id = sample.channel_id
                    AND since_time <= FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs)
              AND since_time > COALESCE((
                  SELECT MAX(since_time) FROM num_metadata_history AS about
                  WHERE about.channel_id = sample.channel_id
                    AND since_time <= FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs), -1)),
           str_val, num_val, float_val) AS value,
       CASE WHEN str_val IS NULL THEN COALESCE(
           (SELECT unit FROM num_metadata_history AS about
            WHERE about.channel_id = sample.channel_id
              AND since_time = (
                  SELECT MAX(since_time) FROM num_metadata_history AS latest
                  WHERE latest.channel_id = sample.channel_id
                    AND since_time <= FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs)
              AND since_time > COALESCE((
                  SELECT MAX(since_time) FROM enum_metadata_history AS word
                  WHERE word.channel_id = sample.channel_id
                    AND since_time <= FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs), -1)), '')
           ELSE '' END AS unit,
       severity.name AS severity,
       status.name AS status
FROM sample
JOIN channel ON channel.channel_id = sample.channel_id
JOIN severity ON severity.severity_id = sample.severity_id
JOIN status ON status.status_id = sample.status_id;
