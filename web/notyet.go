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






























