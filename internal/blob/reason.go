package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/smithy-go"
	"gocloud.dev/gcerrors"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
)

// maxCode bounds what a storage may put into our answers.
const maxCode = 100

// Reason is what may be told to whoever set a storage up of why it failed: the
// storage's own code. The errors of its libraries hold addresses, requests and
// answers, which is for the log.
func Reason(err error) string {
	var s3 smithy.APIError
	var azure *azcore.ResponseError
	var login *azidentity.AuthenticationFailedError
	var google *googleapi.Error
	var token *oauth2.RetrieveError
	var field *FieldError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &field):
		return field.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	case errors.As(err, &s3):
		return fmt.Sprintf("it answered %.*s", maxCode, s3.ErrorCode())
	case errors.As(err, &login):
		return "the client was not let in"
	case errors.As(err, &azure):
		return fmt.Sprintf("it answered %d %.*s", azure.StatusCode, maxCode, azure.ErrorCode)
	case errors.As(err, &token):
		return fmt.Sprintf("the credentials were not taken: %.*s", maxCode, token.ErrorCode)
	case errors.As(err, &google):
		return fmt.Sprintf("it answered %d", google.Code)
	case errors.Is(err, ErrNotFound), gcerrors.Code(err) == gcerrors.NotFound:
		return "there is no such bucket or object"
	case gcerrors.Code(err) == gcerrors.PermissionDenied:
		return "it gave no permission"
	}
	return "it cannot be reached"
}

// Permanent tells whether an error of a store will still be there when the
// same is tried again: it refused what was asked, or who asked. What is not
// known to be for ever is not.
func Permanent(err error) bool {
	var field *FieldError
	var login *azidentity.AuthenticationFailedError
	var token *oauth2.RetrieveError
	if errors.Is(err, ErrBadKey) || errors.Is(err, fs.ErrPermission) || errors.As(err, &field) || errors.As(err, &login) ||
		errors.As(err, &token) && token.Response != nil && token.Response.StatusCode < 500 {
		return true
	}
	status := 0
	var aws interface{ HTTPStatusCode() int }
	var azure *azcore.ResponseError
	var google *googleapi.Error
	switch {
	case errors.As(err, &aws):
		status = aws.HTTPStatusCode()
	case errors.As(err, &azure):
		status = azure.StatusCode
	case errors.As(err, &google):
		status = google.Code
	}
	return PermanentStatus(status)
}

// PermanentStatus tells the same of an HTTP status; 0 is none.
func PermanentStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 300 && status < 500
}
