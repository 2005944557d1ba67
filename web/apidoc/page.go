package apidoc

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"stillwatch/web/api"
)

//go:embed page.gohtml
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"prose": prose, "lower": strings.ToLower,
}).Parse(pageText))

// page is what the template shows.
type page struct {
	Title, Version, Intro string
	Open                  bool
	Count                 int
	Groups                []*group
	Schemas               []schema
}

type group struct {
	Name, Anchor, Doc string
	Operations        []operation
}

type operation struct {
	ID, Method, Path, Summary, Doc string
	Access                         api.Access
	Who                            string
	Parameters                     []field
	Request                        *schema
	Responses                      []response
	Curl                           string
	Deprecated                     bool
}

type response struct {
	Status, Doc, Type string
	Schema            *schema
}

// who says in words what "x-access" means.
var who = map[api.Access]string{
	api.AccessToken:      "Any valid token; what a user may do follows from their role and their part in the call.",
	api.AccessModerate:   "A server token, or a user whose role is moderator or admin.",
	api.AccessAdminister: "A server token, or a user whose role is admin.",
}

// methods in the order that the operations of a path are shown in.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func render(doc *openapi3.T, open bool) ([]byte, error) {
	p := page{Title: doc.Info.Title, Version: doc.Info.Version, Intro: doc.Info.Description, Open: open}
	groups := map[string]*group{}
	for _, tag := range doc.Tags {
		g := &group{Name: tag.Name, Anchor: "tag-" + strings.ReplaceAll(tag.Name, " ", "-"), Doc: tag.Description}
		groups[tag.Name] = g
		p.Groups = append(p.Groups, g)
	}
	for _, path := range doc.Paths.InMatchingOrder() {
		item := doc.Paths.Value(path)
		for _, method := range methods {
			op := item.GetOperation(method)
			if op == nil {
				continue
			}
			if len(op.Tags) != 1 || groups[op.Tags[0]] == nil {
				return nil, fmt.Errorf("operation %s: tags are %v, want one of the document's", op.OperationID, op.Tags)
			}
			o, err := operationOf(path, method, item, op)
			if err != nil {
				return nil, err
			}
			g := groups[op.Tags[0]]
			g.Operations = append(g.Operations, o)
			p.Count++
		}
	}
	for _, g := range p.Groups {
		slices.SortStableFunc(g.Operations, func(a, b operation) int { return strings.Compare(a.Path, b.Path) })
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		p.Schemas = append(p.Schemas, schemaOf(name, doc.Components.Schemas[name]))
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("make the API page: %w", err)
	}
	return b.Bytes(), nil
}

func operationOf(path, method string, item *openapi3.PathItem, op *openapi3.Operation) (operation, error) {
	access, err := api.AccessOf(op)
	if err != nil {
		return operation{}, err
	}
	o := operation{
		ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Doc: op.Description,
		Access: access, Who: who[access], Deprecated: op.Deprecated,
	}
	for _, ref := range append(slices.Clone(item.Parameters), op.Parameters...) {
		f := fieldOf(ref.Value.Name, ref.Value.Schema, ref.Value.Required)
		f.In = ref.Value.In
		if ref.Value.Description != "" {
			f.Doc = ref.Value.Description
		}
		o.Parameters = append(o.Parameters, f)
	}
	if op.RequestBody != nil {
		if media := op.RequestBody.Value.Content.Get("application/json"); media != nil {
			s := schemaOf("", media.Schema)
			s.Required = op.RequestBody.Value.Required
			o.Request = &s
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
		o.Responses = append(o.Responses, responseOf(status, op.Responses.Value(status).Value))
	}
	o.Curl = curl(path, method, item, op)
	return o, nil
}

func responseOf(status string, r *openapi3.Response) response {
	out := response{Status: status}
	if r.Description != nil {
		out.Doc = *r.Description
	}
	if status == "default" {
		out.Status = "4xx, 5xx"
	}
	for _, typ := range slices.Sorted(maps.Keys(r.Content)) {
		s := schemaOf("", r.Content[typ].Schema)
		out.Type, out.Schema = typ, &s
	}
	return out
}

var code = regexp.MustCompile("`([^`]+)`")

// prose is text of the document with its `code` marked up.
func prose(s string) template.HTML {
	return template.HTML(code.ReplaceAllString(template.HTMLEscapeString(s), "<code>$1</code>"))
}
