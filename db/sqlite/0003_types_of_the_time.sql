-- What a row was is what its PV was then: a state has the words that held, a number that PV became none.

DROP VIEW history;

-- For people: SELECT * FROM history WHERE name = 'LAB:TC1:T1' AND time > '2026-11-20T14' ORDER BY time;
CREATE VIEW history AS
SELECT name,
       strftime('%Y-%m-%dT%H:%M:%S', smpl_time / 1000000000, 'unixepoch')
           || printf('.%09dZ', smpl_time % 1000000000) AS time,
       coalesce(
           CASE WHEN words_since > coalesce(number_since, -1) THEN
               (SELECT nullif(enum_val, '') FROM enum_metadata_history AS word
                WHERE word.channel_id = dated.channel_id AND since_time = words_since AND enum_nbr = num_val) END,
           str_val, num_val, float_val) AS value,
       CASE WHEN str_val IS NULL AND number_since > coalesce(words_since, -1) THEN
           (SELECT unit FROM num_metadata_history AS about
            WHERE about.channel_id = dated.channel_id AND since_time = number_since) ELSE '' END AS unit,
       severity,
       status
FROM (
    SELECT sample.channel_id AS channel_id, channel.name AS name, smpl_time, num_val, float_val, str_val,
           severity.name AS severity, status.name AS status,
           (SELECT max(since_time) FROM enum_metadata_history AS word
            WHERE word.channel_id = sample.channel_id AND since_time <= smpl_time) AS words_since,
           (SELECT max(since_time) FROM num_metadata_history AS about
            WHERE about.channel_id = sample.channel_id AND since_time <= smpl_time) AS number_since
    FROM sample
    JOIN channel USING (channel_id)
    JOIN severity USING (severity_id)
    JOIN status USING (status_id)) AS dated;
