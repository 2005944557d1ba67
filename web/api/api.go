// Package api is the server API as openapi.yaml describes it: the document,
// the types and the routes that are generated from it.
package api

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:generate ../../build/tools/oapi-codegen -config codegen.yaml openapi.yaml
//go:generate ../../internal/testkit/npm/node_modules/.bin/openapi-typescript openapi.yaml --output ../console/api.d.ts

// Document is the text of openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte

// Load parses and checks the document.
func Load() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(Document)
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("check openapi.yaml: %w", err)
	}
	return doc, nil
}

// Access says who may call an operation.
type Access string

// The values of "x-access".
const (
	// AccessToken lets any valid token in; the handler decides the rest.
	AccessToken Access = "token"
	// AccessModerate needs a server token, or the role moderator or admin.
	AccessModerate Access = "moderate"
	// AccessAdminister needs a server token, or the role admin.
	AccessAdminister Access = "administer"
)

// AccessOf reads who may call an operation. There is no default: a forgotten
// line is an error, not an open door.
func AccessOf(op *openapi3.Operation) (Access, error) {
	value, _ := op.Extensions["x-access"].(string)
	switch a := Access(value); a {
	case AccessToken, AccessModerate, AccessAdminister:
		return a, nil
	}
	return "", fmt.Errorf("operation %s: x-access is %q", op.OperationID, value)
}
