package web

import (
	"context"
	"net/http"

	"stillwatch/web/api"
)

// handlers is Server; what it does not have yet is answered by notYet.
type handlers struct {
	*Server
	fallback
}

type fallback struct{ notYet }

// notYet answers operations that have no handler.
type notYet struct{}

func missing(op string) error {
	return fail(http.StatusNotImplemented, CodeUnavailable, "%s is not in this version", op)
}

func (notYet) QueryBannedUsers(context.Context, api.QueryBannedUsersRequestObject) (api.QueryBannedUsersResponseObject, error) {
	return nil, missing("QueryBannedUsers")
}
func (notYet) CheckSNS(context.Context, api.CheckSNSRequestObject) (api.CheckSNSResponseObject, error) {
	return nil, missing("CheckSNS")
}
func (notYet) CheckSQS(context.Context, api.CheckSQSRequestObject) (api.CheckSQSResponseObject, error) {
	return nil, missing("CheckSQS")
}
func (notYet) ListExternalStorage(context.Context, api.ListExternalStorageRequestObject) (api.ListExternalStorageResponseObject, error) {
	return nil, missing("ListExternalStorage")
}
func (notYet) CreateExternalStorage(context.Context, api.CreateExternalStorageRequestObject) (api.CreateExternalStorageResponseObject, error) {
	return nil, missing("CreateExternalStorage")
}
func (notYet) DeleteExternalStorage(context.Context, api.DeleteExternalStorageRequestObject) (api.DeleteExternalStorageResponseObject, error) {
	return nil, missing("DeleteExternalStorage")
}
func (notYet) UpdateExternalStorage(context.Context, api.UpdateExternalStorageRequestObject) (api.UpdateExternalStorageResponseObject, error) {
	return nil, missing("UpdateExternalStorage")
}
func (notYet) CheckExternalStorage(context.Context, api.CheckExternalStorageRequestObject) (api.CheckExternalStorageResponseObject, error) {
	return nil, missing("CheckExternalStorage")
}
func (notYet) Analyze(context.Context, api.AnalyzeRequestObject) (api.AnalyzeResponseObject, error) {
	return nil, missing("Analyze")
}
func (notYet) Appeal(context.Context, api.AppealRequestObject) (api.AppealResponseObject, error) {
	return nil, missing("Appeal")
}
func (notYet) GetAppeal(context.Context, api.GetAppealRequestObject) (api.GetAppealResponseObject, error) {
	return nil, missing("GetAppeal")
}
func (notYet) QueryAppeals(context.Context, api.QueryAppealsRequestObject) (api.QueryAppealsResponseObject, error) {
	return nil, missing("QueryAppeals")
}
func (notYet) BulkActionAppeals(context.Context, api.BulkActionAppealsRequestObject) (api.BulkActionAppealsResponseObject, error) {
	return nil, missing("BulkActionAppeals")
}
func (notYet) Ban(context.Context, api.BanRequestObject) (api.BanResponseObject, error) {
	return nil, missing("Ban")
}
func (notYet) Check(context.Context, api.CheckRequestObject) (api.CheckResponseObject, error) {
	return nil, missing("Check")
}
func (notYet) UpsertConfig(context.Context, api.UpsertConfigRequestObject) (api.UpsertConfigResponseObject, error) {
	return nil, missing("UpsertConfig")
}
func (notYet) DeleteConfig(context.Context, api.DeleteConfigRequestObject) (api.DeleteConfigResponseObject, error) {
	return nil, missing("DeleteConfig")
}
func (notYet) GetConfig(context.Context, api.GetConfigRequestObject) (api.GetConfigResponseObject, error) {
	return nil, missing("GetConfig")
}
func (notYet) QueryConfigs(context.Context, api.QueryConfigsRequestObject) (api.QueryConfigsResponseObject, error) {
	return nil, missing("QueryConfigs")
}
func (notYet) CustomCheck(context.Context, api.CustomCheckRequestObject) (api.CustomCheckResponseObject, error) {
	return nil, missing("CustomCheck")
}
func (notYet) Flag(context.Context, api.FlagRequestObject) (api.FlagResponseObject, error) {
	return nil, missing("Flag")
}
func (notYet) GetFlagCount(context.Context, api.GetFlagCountRequestObject) (api.GetFlagCountResponseObject, error) {
	return nil, missing("GetFlagCount")
}
func (notYet) QueryModerationFlags(context.Context, api.QueryModerationFlagsRequestObject) (api.QueryModerationFlagsResponseObject, error) {
	return nil, missing("QueryModerationFlags")
}
func (notYet) QueryModerationLogs(context.Context, api.QueryModerationLogsRequestObject) (api.QueryModerationLogsResponseObject, error) {
	return nil, missing("QueryModerationLogs")
}
func (notYet) UpsertModerationRule(context.Context, api.UpsertModerationRuleRequestObject) (api.UpsertModerationRuleResponseObject, error) {
	return nil, missing("UpsertModerationRule")
}
func (notYet) DeleteModerationRule(context.Context, api.DeleteModerationRuleRequestObject) (api.DeleteModerationRuleResponseObject, error) {
	return nil, missing("DeleteModerationRule")
}
func (notYet) GetModerationRule(context.Context, api.GetModerationRuleRequestObject) (api.GetModerationRuleResponseObject, error) {
	return nil, missing("GetModerationRule")
}
func (notYet) QueryModerationRules(context.Context, api.QueryModerationRulesRequestObject) (api.QueryModerationRulesResponseObject, error) {
	return nil, missing("QueryModerationRules")
}
func (notYet) Mute(context.Context, api.MuteRequestObject) (api.MuteResponseObject, error) {
	return nil, missing("Mute")
}
func (notYet) ListQueues(context.Context, api.ListQueuesRequestObject) (api.ListQueuesResponseObject, error) {
	return nil, missing("ListQueues")
}
func (notYet) CreateQueue(context.Context, api.CreateQueueRequestObject) (api.CreateQueueResponseObject, error) {
	return nil, missing("CreateQueue")
}
func (notYet) GetQueue(context.Context, api.GetQueueRequestObject) (api.GetQueueResponseObject, error) {
	return nil, missing("GetQueue")
}
func (notYet) UpdateQueue(context.Context, api.UpdateQueueRequestObject) (api.UpdateQueueResponseObject, error) {
	return nil, missing("UpdateQueue")
}
func (notYet) DeleteQueue(context.Context, api.DeleteQueueRequestObject) (api.DeleteQueueResponseObject, error) {
	return nil, missing("DeleteQueue")
}
func (notYet) QueryReviewQueue(context.Context, api.QueryReviewQueueRequestObject) (api.QueryReviewQueueResponseObject, error) {
	return nil, missing("QueryReviewQueue")
}
func (notYet) GetReviewQueueItem(context.Context, api.GetReviewQueueItemRequestObject) (api.GetReviewQueueItemResponseObject, error) {
	return nil, missing("GetReviewQueueItem")
}
func (notYet) SubmitAction(context.Context, api.SubmitActionRequestObject) (api.SubmitActionResponseObject, error) {
	return nil, missing("SubmitAction")
}
func (notYet) SubmitModerationFeedback(context.Context, api.SubmitModerationFeedbackRequestObject) (api.SubmitModerationFeedbackResponseObject, error) {
	return nil, missing("SubmitModerationFeedback")
}
func (notYet) Unban(context.Context, api.UnbanRequestObject) (api.UnbanResponseObject, error) {
	return nil, missing("Unban")
}
func (notYet) Unmute(context.Context, api.UnmuteRequestObject) (api.UnmuteResponseObject, error) {
	return nil, missing("Unmute")
}
func (notYet) ListPermissions(context.Context, api.ListPermissionsRequestObject) (api.ListPermissionsResponseObject, error) {
	return nil, missing("ListPermissions")
}
func (notYet) GetRateLimits(context.Context, api.GetRateLimitsRequestObject) (api.GetRateLimitsResponseObject, error) {
	return nil, missing("GetRateLimits")
}
func (notYet) ListRoles(context.Context, api.ListRolesRequestObject) (api.ListRolesResponseObject, error) {
	return nil, missing("ListRoles")
}
func (notYet) GetDelivery(context.Context, api.GetDeliveryRequestObject) (api.GetDeliveryResponseObject, error) {
	return nil, missing("GetDelivery")
}
func (notYet) ListHooks(context.Context, api.ListHooksRequestObject) (api.ListHooksResponseObject, error) {
	return nil, missing("ListHooks")
}
func (notYet) ListDeliveries(context.Context, api.ListDeliveriesRequestObject) (api.ListDeliveriesResponseObject, error) {
	return nil, missing("ListDeliveries")
}
func (notYet) ReplayHook(context.Context, api.ReplayHookRequestObject) (api.ReplayHookResponseObject, error) {
	return nil, missing("ReplayHook")
}
func (notYet) RotateHookSecret(context.Context, api.RotateHookSecretRequestObject) (api.RotateHookSecretResponseObject, error) {
	return nil, missing("RotateHookSecret")
}
func (notYet) TestHook(context.Context, api.TestHookRequestObject) (api.TestHookResponseObject, error) {
	return nil, missing("TestHook")
}
func (notYet) GetTask(context.Context, api.GetTaskRequestObject) (api.GetTaskResponseObject, error) {
	return nil, missing("GetTask")
}
func (notYet) QueryUsers(context.Context, api.QueryUsersRequestObject) (api.QueryUsersResponseObject, error) {
	return nil, missing("QueryUsers")
}
func (notYet) UpdateUsers(context.Context, api.UpdateUsersRequestObject) (api.UpdateUsersResponseObject, error) {
	return nil, missing("UpdateUsers")
}
func (notYet) UpsertUsers(context.Context, api.UpsertUsersRequestObject) (api.UpsertUsersResponseObject, error) {
	return nil, missing("UpsertUsers")
}
func (notYet) QueryCallMembers(context.Context, api.QueryCallMembersRequestObject) (api.QueryCallMembersResponseObject, error) {
	return nil, missing("QueryCallMembers")
}
func (notYet) GetCall(context.Context, api.GetCallRequestObject) (api.GetCallResponseObject, error) {
	return nil, missing("GetCall")
}
func (notYet) UpdateCall(context.Context, api.UpdateCallRequestObject) (api.UpdateCallResponseObject, error) {
	return nil, missing("UpdateCall")
}
func (notYet) GetOrCreateCall(context.Context, api.GetOrCreateCallRequestObject) (api.GetOrCreateCallResponseObject, error) {
	return nil, missing("GetOrCreateCall")
}
func (notYet) BlockUser(context.Context, api.BlockUserRequestObject) (api.BlockUserResponseObject, error) {
	return nil, missing("BlockUser")
}
func (notYet) DeleteCall(context.Context, api.DeleteCallRequestObject) (api.DeleteCallResponseObject, error) {
	return nil, missing("DeleteCall")
}
func (notYet) SendCallEvent(context.Context, api.SendCallEventRequestObject) (api.SendCallEventResponseObject, error) {
	return nil, missing("SendCallEvent")
}
func (notYet) KickUser(context.Context, api.KickUserRequestObject) (api.KickUserResponseObject, error) {
	return nil, missing("KickUser")
}
func (notYet) EndCall(context.Context, api.EndCallRequestObject) (api.EndCallResponseObject, error) {
	return nil, missing("EndCall")
}
func (notYet) UpdateCallMembers(context.Context, api.UpdateCallMembersRequestObject) (api.UpdateCallMembersResponseObject, error) {
	return nil, missing("UpdateCallMembers")
}
func (notYet) MuteUsers(context.Context, api.MuteUsersRequestObject) (api.MuteUsersResponseObject, error) {
	return nil, missing("MuteUsers")
}
func (notYet) QueryCallParticipants(context.Context, api.QueryCallParticipantsRequestObject) (api.QueryCallParticipantsResponseObject, error) {
	return nil, missing("QueryCallParticipants")
}
func (notYet) ListRecordings(context.Context, api.ListRecordingsRequestObject) (api.ListRecordingsResponseObject, error) {
	return nil, missing("ListRecordings")
}
func (notYet) StartRecording(context.Context, api.StartRecordingRequestObject) (api.StartRecordingResponseObject, error) {
	return nil, missing("StartRecording")
}
func (notYet) StopRecording(context.Context, api.StopRecordingRequestObject) (api.StopRecordingResponseObject, error) {
	return nil, missing("StopRecording")
}
func (notYet) StartFrameRecording(context.Context, api.StartFrameRecordingRequestObject) (api.StartFrameRecordingResponseObject, error) {
	return nil, missing("StartFrameRecording")
}
func (notYet) StartCompositeRecording(context.Context, api.StartCompositeRecordingRequestObject) (api.StartCompositeRecordingResponseObject, error) {
	return nil, missing("StartCompositeRecording")
}
func (notYet) StopFrameRecording(context.Context, api.StopFrameRecordingRequestObject) (api.StopFrameRecordingResponseObject, error) {
	return nil, missing("StopFrameRecording")
}
func (notYet) StopCompositeRecording(context.Context, api.StopCompositeRecordingRequestObject) (api.StopCompositeRecordingResponseObject, error) {
	return nil, missing("StopCompositeRecording")
}
func (notYet) UnblockUser(context.Context, api.UnblockUserRequestObject) (api.UnblockUserResponseObject, error) {
	return nil, missing("UnblockUser")
}
func (notYet) UpdateUserPermissions(context.Context, api.UpdateUserPermissionsRequestObject) (api.UpdateUserPermissionsResponseObject, error) {
	return nil, missing("UpdateUserPermissions")
}
func (notYet) DeleteRecording(context.Context, api.DeleteRecordingRequestObject) (api.DeleteRecordingResponseObject, error) {
	return nil, missing("DeleteRecording")
}
func (notYet) QueryCalls(context.Context, api.QueryCallsRequestObject) (api.QueryCallsResponseObject, error) {
	return nil, missing("QueryCalls")
}
func (notYet) ListCallTypes(context.Context, api.ListCallTypesRequestObject) (api.ListCallTypesResponseObject, error) {
	return nil, missing("ListCallTypes")
}
func (notYet) CreateCallType(context.Context, api.CreateCallTypeRequestObject) (api.CreateCallTypeResponseObject, error) {
	return nil, missing("CreateCallType")
}
func (notYet) DeleteCallType(context.Context, api.DeleteCallTypeRequestObject) (api.DeleteCallTypeResponseObject, error) {
	return nil, missing("DeleteCallType")
}
func (notYet) GetCallType(context.Context, api.GetCallTypeRequestObject) (api.GetCallTypeResponseObject, error) {
	return nil, missing("GetCallType")
}
func (notYet) UpdateCallType(context.Context, api.UpdateCallTypeRequestObject) (api.UpdateCallTypeResponseObject, error) {
	return nil, missing("UpdateCallType")
}
func (notYet) GetRecordingPermissions(context.Context, api.GetRecordingPermissionsRequestObject) (api.GetRecordingPermissionsResponseObject, error) {
	return nil, missing("GetRecordingPermissions")
}
func (notYet) UpdateRecordingPermissions(context.Context, api.UpdateRecordingPermissionsRequestObject) (api.UpdateRecordingPermissionsResponseObject, error) {
	return nil, missing("UpdateRecordingPermissions")
}
func (notYet) SetRecordingPermissions(context.Context, api.SetRecordingPermissionsRequestObject) (api.SetRecordingPermissionsResponseObject, error) {
	return nil, missing("SetRecordingPermissions")
}
func (notYet) GetDomainRecordingPermissions(context.Context, api.GetDomainRecordingPermissionsRequestObject) (api.GetDomainRecordingPermissionsResponseObject, error) {
	return nil, missing("GetDomainRecordingPermissions")
}
func (notYet) UpdateDomainRecordingPermissions(context.Context, api.UpdateDomainRecordingPermissionsRequestObject) (api.UpdateDomainRecordingPermissionsResponseObject, error) {
	return nil, missing("UpdateDomainRecordingPermissions")
}
func (notYet) SetDomainRecordingPermissions(context.Context, api.SetDomainRecordingPermissionsRequestObject) (api.SetDomainRecordingPermissionsResponseObject, error) {
	return nil, missing("SetDomainRecordingPermissions")
}
