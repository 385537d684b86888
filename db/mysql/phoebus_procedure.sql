-- What Phoebus asks for with org.phoebus.archive.reader.rdb/stored_procedure: a channel between two times, reduced to
-- about so many points; nine columns, the order of which counts.
--
-- Where summaries were made: those of some bins together, of an hour or of a minute, as `wb` 0 with min, max, mean
-- over time. Where some of that time is not known there follows a text (`wb` -1), which breaks the line. Elsewhere,
-- and if there are fewer than a minute to a point: the rows themselves. The first row is the one in force at the begin.
CREATE PROCEDURE rackioc_history(IN channel INT UNSIGNED, IN begins TIMESTAMP(6), IN ends TIMESTAMP(6), IN points INT)
READS SQL DATA
BEGIN
    DECLARE minute, hour, width_ns, group_ns, begin_ns, until_ns BIGINT DEFAULT 0;
    DECLARE starts TIMESTAMP(6) DEFAULT (
        SELECT MAX(smpl_time) FROM sample WHERE channel_id = channel AND smpl_time <= begins);
    SET minute = 60000000000, hour = 3600000000000;
    SET group_ns = (UNIX_TIMESTAMP(ends) - UNIX_TIMESTAMP(begins)) * 1000000000 DIV GREATEST(points, 1);
    SET width_ns = IF(group_ns >= hour, hour, minute);
    IF group_ns >= minute THEN
        -- what was made of the window, in full bins; 0 if nothing was
        SELECT CEILING(GREATEST(begin_time, UNIX_TIMESTAMP(begins) * 1000000000) / width_ns) * width_ns,
               LEAST(until_time, UNIX_TIMESTAMP(ends) * 1000000000) DIV width_ns * width_ns
        INTO begin_ns, until_ns FROM summarized WHERE channel_id = channel;
        SET group_ns = CEILING(group_ns / width_ns) * width_ns;
    END IF;
    IF until_ns <= begin_ns THEN
        SET begin_ns = 0, until_ns = 0;
    END IF;

    SELECT 0 AS wb, smpl_time, severity_id, status_id, min_val, max_val, avg_val, NULL AS str_val, cnt
    FROM (
        SELECT FROM_UNIXTIME(MIN(bin_time) / 1000000000) AS smpl_time,
               MAX(known_severity_id) AS severity_id,
               CAST(SUBSTRING_INDEX(GROUP_CONCAT(last_status_id ORDER BY bin_time DESC), ',', 1) AS UNSIGNED)
                   AS status_id,
               MIN(min_val) AS min_val, MAX(max_val) AS max_val,
               SUM(mean_val * (width - invalid_ns - gap_ns))
                   / SUM(IF(mean_val IS NULL, 0, width - invalid_ns - gap_ns)) AS avg_val,
               SUM(count) AS cnt
        FROM summary
        WHERE channel_id = channel AND width = width_ns AND bin_time >= begin_ns AND bin_time < until_ns
            AND NOT EXISTS (SELECT 1 FROM summary_hole
                            WHERE summary_hole.channel_id = channel AND hour_time = bin_time DIV hour * hour)
        GROUP BY bin_time DIV group_ns) AS made
    WHERE min_val IS NOT NULL
    UNION ALL
    SELECT -1, FROM_UNIXTIME((MIN(bin_time) + (MAX(bin_time) + width_ns - MIN(bin_time)) DIV 2) / 1000000000), 4,
           CAST(SUBSTRING_INDEX(GROUP_CONCAT(last_status_id ORDER BY invalid_ns + gap_ns DESC), ',', 1) AS UNSIGNED),
           NULL, NULL, NULL, 'Not_Known', 1
    FROM summary
    WHERE channel_id = channel AND width = width_ns AND bin_time >= begin_ns AND bin_time < until_ns
        AND NOT EXISTS (SELECT 1 FROM summary_hole
                        WHERE summary_hole.channel_id = channel AND hour_time = bin_time DIV hour * hour)
    GROUP BY bin_time DIV group_ns HAVING SUM(invalid_ns + gap_ns) > 0
    UNION ALL
    SELECT IF(str_val IS NULL, 0, -1), smpl_time, severity_id, status_id, COALESCE(float_val, num_val),
           COALESCE(float_val, num_val), COALESCE(float_val, num_val), str_val, 1
    FROM sample
    WHERE channel_id = channel AND smpl_time >= COALESCE(starts, begins)
        AND smpl_time < FROM_UNIXTIME(IF(until_ns > 0, begin_ns / 1000000000, UNIX_TIMESTAMP(begins) + 0.000001))
    UNION ALL
    SELECT IF(str_val IS NULL, 0, -1), smpl_time, severity_id, status_id, COALESCE(float_val, num_val),
           COALESCE(float_val, num_val), COALESCE(float_val, num_val), str_val, 1
    FROM sample
    WHERE channel_id = channel AND smpl_time > begins AND smpl_time <= ends
        AND smpl_time >= FROM_UNIXTIME(until_ns / 1000000000)
    UNION ALL
    SELECT IF(str_val IS NULL, 0, -1), smpl_time, severity_id, status_id, COALESCE(float_val, num_val),
           COALESCE(float_val, num_val), COALESCE(float_val, num_val), str_val, 1
    FROM summary_hole
    JOIN sample ON sample.channel_id = channel
        AND smpl_time >= FROM_UNIXTIME(hour_time / 1000000000)
        AND smpl_time < FROM_UNIXTIME((hour_time + hour) / 1000000000)
    WHERE summary_hole.channel_id = channel
        AND smpl_time >= FROM_UNIXTIME(begin_ns / 1000000000) AND smpl_time < FROM_UNIXTIME(until_ns / 1000000000)
    ORDER BY smpl_time;
END
