DELETE FROM evidence WHERE kind = 'absence';
ALTER TABLE evidence
    DROP CONSTRAINT kind_is_known,
    ADD CONSTRAINT kind_is_known CHECK (kind IN ('late-answer', 'late-release', 'resolution', 'import', 'contradiction'));
DROP INDEX requests_probe_due;
ALTER TABLE requests DROP COLUMN probe_due;
