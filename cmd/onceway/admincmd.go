package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"
)

func newAdminCommand() *cobra.Command {
	return newGroup("admin", "Prepare access for operators", newAdminTokenCommand())
}

// operatorName is how the configuration wants the name of a token.
var operatorName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

func newAdminTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token NAME",
		Short: "Make a random token, and print it with the line for admin.tokens",
		Long:  "Make a random token for an operator. It is shown once and stored nowhere: the configuration has only its\nSHA-256. The name is what resolutions are signed with.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !operatorName.MatchString(args[0]) {
				return &usageError{errors.New("a name is 1 to 64 of A-Z a-z 0-9 . _ @ -")}
			}
			token, hash := newToken()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "token: %s\nadmin.tokens: - {name: %q, hash: %q}\n", token, args[0], hash)
			return err
		},
	}
}

// newToken returns 256 random bits, and what the configuration keeps of them.
func newToken() (token, hash string) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails (crypto/rand)
	token = base64.RawURLEncoding.EncodeToString(secret[:])
	sum := sha256.Sum256([]byte(token))
	return token, "sha256:" + hex.EncodeToString(sum[:])
}
