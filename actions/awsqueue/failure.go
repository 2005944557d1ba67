package awsqueue

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
)

// Codes of errors by what they mean, as the API references of SQS and SNS
// have them, in the JSON and in the query protocol.
var (
	goneCodes = []string{"QueueDoesNotExist", "NonExistentQueue", "NotFound", "NotFoundException"}
	slowCodes = []string{
		"Throttling", "ThrottlingException", "Throttled", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "KMSThrottling", "KMSThrottlingException", "KMS.ThrottlingException",
		"OverLimit", "ServiceUnavailable",
	}
)

// Outcome is what became of a request. The service's own words are kept: they
// name the code, and the user or the queue.
func Outcome(err error, auth Auth) delivery.Result {
	if err == nil {
		return delivery.Result{Status: http.StatusOK}
	}
	var res delivery.Result
	said := smithy.APIError(nil)
	if errors.As(err, &said) {
		code := strings.TrimPrefix(said.ErrorCode(), "AWS.SimpleQueueService.")
		res.Err = errors.New(peer.Say(code+": "+said.ErrorMessage(), auth.Secret, auth.Key))
		res.Gone = slices.Contains(goneCodes, code)
		res.Throttled = slices.Contains(slowCodes, code)
	} else {
		if op := (*smithy.OperationError)(nil); errors.As(err, &op) {
			err = op.Unwrap() // the operation is plain from the hook's type
		}
		res = peer.Failure(err, auth.Secret, auth.Key)
	}
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		res.Status = answer.HTTPStatusCode()
		res.Throttled = res.Throttled || res.Status == http.StatusTooManyRequests || res.Status == http.StatusServiceUnavailable
	}
	return res
}
