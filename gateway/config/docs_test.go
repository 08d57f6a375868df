package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/onceway/onceway/gateway/config"
)

// The documentation's example has every default in it: it must mean the same as the shortest file.
func TestDocumentedDefaults(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/configuration.md has no yaml block")
	}
	const shortest = `
caller: {none: {}}
upstreams: {orders: {targets: [http://127.0.0.1:9000]}}
routes: [{name: orders, match: {path: /orders/**}, upstream: orders}]
`
	documented, defaults := effective(t, example), effective(t, shortest)
	if documented != defaults {
		t.Errorf("the documented defaults are not the defaults:\n%s\nwant\n%s", documented, defaults)
	}
}

func TestReadmeConfiguration(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("README.md has no yaml block")
	}
	effective(t, example)
}

func effective(t *testing.T, text string) string {
	t.Helper()
	c, err := config.Load(config.Source{File: "onceway.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	out := c.YAML()
	return string(out)
}
