-- Items in the order of their encoded keys. Expiry is microseconds since the epoch, UTC; null means never.
CREATE TABLE item (
    key BLOB NOT NULL UNIQUE,
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    expires INTEGER
) STRICT;

CREATE INDEX item_expires ON item (expires) WHERE expires IS NOT NULL;

-- One row: the revision of the last write, which outlives the items it made.
CREATE TABLE store (revision INTEGER NOT NULL) STRICT;
INSERT INTO store VALUES (0);
