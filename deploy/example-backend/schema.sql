
-- There is no unique constraint on operation: that one operation places one order is for
-- onceway_operations to keep, and the tests count here whether it does.
CREATE TABLE IF NOT EXISTS orders (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item      text NOT NULL,
    quantity  integer NOT NULL,
    operation uuid NOT NULL,
    attempt   integer NOT NULL,
    placed    timestamptz NOT NULL DEFAULT now()
);
