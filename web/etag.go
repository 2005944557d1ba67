package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// etag is the strong entity tag (RFC 9110, 8.8.3) of a resource: when it was
// changed and a digest of what it holds, which two changes in one instant
// still tell apart. content is what makes up the resource, as JSON.
func etag(updatedAt time.Time, content any) string {
	raw, err := json.Marshal(content)
	if err != nil {
		panic(fmt.Sprintf("web: marshal %T: %v", content, err)) // our own types, without channels or cycles
	}
	sum := sha256.Sum256(raw)
	return `"` + strconv.FormatInt(updatedAt.UnixNano(), 36) + "-" + hex.EncodeToString(sum[:8]) + `"`
}

// ifMatch refuses an edit that is based on another state than the current
// one (RFC 9110, 13.1.1). Call it in the transaction of the edit, after the
// row is locked. wanted is the header If-Match, "" where there was none.
func ifMatch(wanted, current string) error {
	if wanted == "" || strings.TrimSpace(wanted) == "*" {
		return nil
	}
	for tag := range strings.SplitSeq(wanted, ",") {
		if strings.TrimSpace(tag) == current {
			return nil
		}
	}
	e := fail(http.StatusPreconditionFailed, CodeConflict, "it has changed since: its ETag is %s now", current)
	e.ExceptionFields = map[string]string{"If-Match": "must be " + current}
	return e
}

// sendETag tells the caller the state that the answer shows.
func sendETag(ctx context.Context, tag string) { setHeader(ctx, "ETag", tag) }
