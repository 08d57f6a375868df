package problem

import (
	"bytes"
	"html/template"
)

// Page returns the page of a problem: UTF-8 HTML without scripts or anything from elsewhere. ok is
// false if there is no such slug.
func Page(slug string) (html []byte, ok bool) {
	s, ok := ParseSlug(slug)
	if !ok {
		return nil, false
	}
	row := s.row()
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Slug": row.slug, "Title": row.title, "Status": row.status, "State": row.state.String(), "Next": row.next.String(),
		"Meaning": row.meaning, "Advice": row.advice,
	})
	if err != nil {
		panic(err) // a fixed template over fixed strings; the tests render every page
	}
	return b.Bytes(), true
}

// PageType is the media type of a page.
const PageType = "text/html; charset=utf-8"

// PagePolicy is the Content-Security-Policy of a page: nothing but its own style.
const PagePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} – Onceway</title>
<style>
:root { color-scheme: light dark }
body { font: 1.0625rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem }
dt { font-weight: 600 } dd { margin: 0 }
code { font-family: ui-monospace, monospace }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<dl>
<dt>Code</dt><dd><code>{{.Slug}}</code></dd>
<dt>Status</dt><dd><code>{{.Status}}</code>{{if eq .Slug "outcome-unknown"}} for a duplicate; <code>502</code> or <code>504</code> for the first caller{{end}}{{if eq .Slug "not-settled"}}; to whoever waited for an attempt that the backend refused, the backend’s{{end}}</dd>
<dt>State</dt><dd><code>{{.State}}</code>{{if eq .Slug "not-settled" "too-late" "internal" "already-settled"}} or the record’s{{end}}</dd>
<dt>Next</dt><dd><code>{{.Next}}</code></dd>
</dl>
<h2>What it means</h2>
<p>{{.Meaning}}</p>
<h2>What to do</h2>
<p>{{.Advice}}</p>
</main>
</body>
</html>
`))
