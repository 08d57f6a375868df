package chaos

import (
	"os"
	"testing"

	"github.com/onceway/onceway/internal/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }
