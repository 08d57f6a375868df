package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/http/httpguts"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/strict"
	"github.com/onceway/onceway/idempotency"
	generated "github.com/onceway/onceway/openapi/admin"
)

// patience is how long the content of a request may take to come.
const patience = 30 * time.Second

// mostEvidence is the greatest length of the evidence, in characters.
const mostEvidence = 4000

// bodyLimit bounds the whole request: the response in base64, its fields, the evidence.
func (a *api) bodyLimit() int64 { return a.MaxBody/3*4 + 128<<10 }

// contents reads the contents of requests for the generated server.
type contents struct{ *api }

func (a contents) Bind(into any, c echo.Context) (err error) {
	said, ok := into.(*generated.Resolution)
	if !ok {
		return fmt.Errorf("nothing reads a %T", into)
	}
	*said, err = a.readResolution(c.Response(), c.Request())
	return err
}

// readResolution reads the content of a request. The error is a refusal.
func (a *api) readResolution(w http.ResponseWriter, r *http.Request) (said generated.Resolution, err error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return said, refused{problem.NewUnsupportedMediaType("A resolution is JSON: Content-Type: application/json.")}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.bodyLimit()))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return said, refused{problem.NewRequestTooLarge(fmt.Sprintf("A resolution has at most %d bytes.", tooLarge.Limit))}
	}
	if err != nil {
		return said, malformed("The content of the request is not whole.")
	}
	if !parseResolution(body, &said) {
		return said, malformed("The content is one JSON object with the members outcome, evidence, and if needed " +
			"attempt, response and acknowledge_spool, each once.")
	}
	return said, check(&said)
}

// parseResolution reads a resolution strictly: it cannot be taken back, and must not be what we guess.
func parseResolution(content []byte, said *generated.Resolution) bool {
	var response, headers json.RawMessage
	if !readMembers(content, map[string]any{"outcome": &said.Outcome, "evidence": &said.Evidence, "attempt": &said.Attempt,
		"acknowledge_spool": &said.AcknowledgeSpool, "response": &response}) {
		return false
	}
	if isAbsent(response) {
		return true
	}
	said.Response = &generated.ResolvedResponse{}
	if !readMembers(response, map[string]any{"status": &said.Response.Status, "headers": &headers, "body": &said.Response.Body,
		"body_encoding": &said.Response.BodyEncoding}) {
		return false
	}
	if isAbsent(headers) {
		return true
	}
	lines, why := strict.Members(headers)
	said.Response.Headers = make(map[string]generated.FieldValues, len(lines))
	for name, value := range lines {
		var values generated.FieldValues
		if json.Unmarshal(value, &values) != nil {
			return false
		}
		said.Response.Headers[name] = values
	}
	return why == ""
}

// readMembers reads each member of an object into what stands for its name. None may be there twice, or have another name.
func readMembers(content []byte, into map[string]any) bool {
	members, why := strict.Members(content)
	for name, value := range members {
		at, known := into[name]
		if !known || json.Unmarshal(value, at) != nil {
			return false
		}
	}
	return why == ""
}

func isAbsent(value json.RawMessage) bool { return value == nil || string(value) == "null" }

func malformed(detail string) error { return refused{problem.NewRequestMalformed(detail)} }

func check(res *generated.Resolution) error {
	switch {
	case res.Outcome != generated.ResolutionOutcomeExecuted && res.Outcome != generated.ResolutionOutcomeNotExecuted:
		return malformed("The member outcome is executed or not_executed.")
	case res.Outcome == generated.ResolutionOutcomeNotExecuted && res.Response != nil:
		return malformed("What was not executed has no response.")
	case res.Attempt != nil && *res.Attempt < 1:
		return malformed("The member attempt is the number of the attempt that the evidence is about.")
	}
	res.Evidence = strings.TrimSpace(res.Evidence)
	switch {
	case res.Evidence == "":
		return refused{problem.NewEvidenceMissing()}
	case utf8.RuneCountInString(res.Evidence) > mostEvidence || strings.ContainsFunc(res.Evidence, isControl):
		return malformed(fmt.Sprintf("The member evidence is text of at most %d characters.", mostEvidence))
	}
	return nil
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// stored returns the answer that a record keeps; nil if the operator brought none.
func (a *api) stored(res *generated.ResolvedResponse, route string) (*idempotency.Response, error) {
	if res == nil {
		return nil, nil
	}
	if res.Status < 200 || res.Status > 599 {
		return nil, malformed("The status of a response is from 200 to 599.")
	}
	body := []byte(res.Body)
	switch res.BodyEncoding {
	case "", "utf-8":
	case "base64":
		var err error
		if body, err = base64.StdEncoding.DecodeString(res.Body); err != nil {
			return nil, malformed("The body of the response is not base64 (RFC 4648, section 4).")
		}
	default:
		return nil, malformed("The member body_encoding is utf-8 or base64.")
	}
	if int64(len(body)) > a.MaxBody {
		return nil, refused{problem.NewRequestTooLarge("The body of the response is longer than " +
			strconv.FormatInt(a.MaxBody, 10) + " bytes, the greatest max_response_body.")}
	}
	if len(body) > 0 && (res.Status == http.StatusNoContent || res.Status == http.StatusNotModified) {
		return nil, malformed("A response with this status has no body.")
	}
	header := http.Header{}
	for name, values := range res.Headers {
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				return nil, malformed("The response has a header field that is none (RFC 9110, section 5).")
			}
			canonical := textproto.CanonicalMIMEHeaderKey(name)
			header[canonical] = append(header[canonical], v)
		}
	}
	return idempotency.NewResponse(res.Status, a.Storable(route, header), body), nil
}
