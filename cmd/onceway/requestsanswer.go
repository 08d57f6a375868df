package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/openapi/admin"
)

// answerFlags are the backend's answer, as an operator knows it.
type answerFlags struct {
	status  int
	headers []string
	file    string
}

func (f *answerFlags) register(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.status, "status", 0, "status of the backend's answer, if you know the whole of it")
	cmd.Flags().StringArrayVar(&f.headers, "header", nil, "a header field of it, as 'Name: value'; may be repeated")
	cmd.Flags().StringVar(&f.file, "body-file", "", "a file with its body; - is standard input")
}

// response returns nil if there is no answer.
func (f *answerFlags) response(cmd *cobra.Command) (*admin.ResolvedResponse, error) {
	if !cmd.Flags().Changed("status") {
		if len(f.headers) > 0 || f.file != "" {
			return nil, &usageError{errors.New("--header and --body-file belong to an answer: give its --status too")}
		}
		return nil, nil
	}
	r := &admin.ResolvedResponse{Status: f.status, Headers: map[string]admin.FieldValues{}}
	for _, field := range f.headers {
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return nil, &usageError{fmt.Errorf("--header %q: it is written 'Name: value'", field)}
		}
		name = strings.TrimSpace(name)
		r.Headers[name] = append(r.Headers[name], strings.TrimSpace(value))
	}
	body, err := f.body(cmd)
	if err != nil {
		return nil, err
	}
	r.Body, r.BodyEncoding = string(body), admin.ResolvedResponseBodyEncodingUTF8
	if !utf8.Valid(body) {
		r.Body, r.BodyEncoding = base64.StdEncoding.EncodeToString(body), admin.ResolvedResponseBodyEncodingBase64
	}
	return r, nil
}

func (f *answerFlags) body(cmd *cobra.Command) ([]byte, error) {
	switch f.file {
	case "":
		return nil, nil
	case "-":
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(f.file)
}
