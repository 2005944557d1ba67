package web

import (
	"bytes"
	"fmt"
	"html"
	"net/http"

	"github.com/labstack/echo/v4"

	"stillwatch/web/apidoc"
)

// errorsPath is the page that "more_info" points to.
const errorsPath = "/docs/errors"

// codeTable says of every code what it means, in order.
var codeTable = []struct {
	code, status int
	meaning      string
}{
	{CodeInternal, http.StatusInternalServerError, "The server failed. The log has the story under the answer's X-Request-Id."},
	{CodeKey, http.StatusUnauthorized, "The API key is missing or wrong."},
	{CodeInput, http.StatusBadRequest, "The request cannot be carried out as it stands. exception_fields names what is wrong and what would be right."},
	{CodeAuth, http.StatusUnauthorized, "The token is missing or malformed, or speaks for nobody."},
	{CodeRateLimit, http.StatusTooManyRequests, "The caller sent too many requests. Retry-After says in how many seconds the next is taken."},
	{CodeNotFound, http.StatusNotFound, "What the path or a field names does not exist."},
	{CodeForbidden, http.StatusForbidden, "The caller may not do this."},
	{CodeTooLarge, http.StatusRequestEntityTooLarge, "The body exceeds 1 MiB."},
	{CodeMethod, http.StatusMethodNotAllowed, "The path does not take this method."},
	{CodeExpired, http.StatusUnauthorized, "The token has expired."},
	{CodeNotYet, http.StatusUnauthorized, "The token's iat or nbf is more than 60 seconds in the future."},
	{CodeSignature, http.StatusUnauthorized, "The token's algorithm is not HS256, or its signature is wrong."},
	{CodeUnavailable, http.StatusServiceUnavailable, "A part that is needed does not answer, or is full. Try again."},
	{CodeConflict, http.StatusConflict, "It exists already, is in use, is decided already, or is locked by somebody else; or, with HTTP 412, it has changed since the state that If-Match names."},
}

// errorPageHead wears the API page's clothes.
const errorPageHead = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>stillwatch error codes</title>
<link rel="stylesheet" href="` + apidoc.Prefix + `apidoc.css">
<link rel="icon" href="` + apidoc.Prefix + `icon.svg" type="image/svg+xml">
</head>
<body>
<header>
<img src="` + apidoc.Prefix + `icon.svg" alt="" width="28" height="28">
<h1>stillwatch <span>error codes</span></h1>
<nav aria-label="Document"><a href="` + apidoc.PagePath + `">API</a></nav>
</header>
<main>
<dl class="codes">
`

// errorPage shows the codes to a person who follows "more_info".
func (s *Server) errorPage(c echo.Context) error {
	var b bytes.Buffer
	b.WriteString(errorPageHead)
	for _, row := range codeTable {
		fmt.Fprintf(&b, "<dt id=\"%d\">%d (HTTP %d)</dt><dd>%s</dd>\n", row.code, row.code, row.status, html.EscapeString(row.meaning))
	}
	b.WriteString("</dl>\n</main>\n</body>\n</html>\n")
	c.Response().Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	return c.HTMLBlob(http.StatusOK, b.Bytes())
}
