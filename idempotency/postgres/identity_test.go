package postgres

import (
	"context"
	"strings"
	"testing"
)

// A spool is bound to it: the same for every way to the same store, and no other store's.
func TestIdentity(t *testing.T) {
	dsn, other := newDatabase(t), newDatabase(t)
	name := func(dsn string) string {
		t.Helper()
		name, err := openStore(t, dsn).Identity(context.Background())
		if err != nil || !strings.HasPrefix(name, "postgres:") || strings.Count(name, "/") != 2 {
			t.Fatalf("%q, %v", name, err)
		}
		return name
	}
	first := name(dsn)
	if again := name(withParameter(dsn, "application_name=x")); again != first {
		t.Errorf("%q and %q", first, again)
	}
	if theirs := name(other); theirs == first {
		t.Errorf("two stores are %q", theirs)
	}
	admin := openAdmin(t, dsn)
	if _, err := admin.Exec(context.Background(), "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; CREATE ROLE plain_identity"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = openAdmin(t, dsn).Exec(context.Background(), "DROP ROLE plain_identity") })
	untold, err := openStore(t, withParameter(dsn, "options=-crole%3Dplain_identity")).Identity(context.Background())
	if err != nil || strings.Count(untold, "/") != 1 {
		t.Errorf("without the cluster's number: %q, %v", untold, err)
	}
}
