package blob

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

func (e External) checkAzure() error {
	key, err := base64.StdEncoding.DecodeString(e.AzureKey)
	byClient := e.AzureTenant != "" || e.AzureClientID != "" || e.AzureSecret != ""
	switch {
	case !azureBucketRE.MatchString(e.Bucket):
		return &FieldError{"bucket", "must be a container's name: 3 to 63 of a-z 0-9 -"}
	case !accountRE.MatchString(e.AzureAccount):
		return &FieldError{"azure_blob.abs_account_name", "must be 3 to 24 of a-z 0-9"}
	case e.AzureEndpoint != "" && !isHTTP(e.AzureEndpoint):
		return &FieldError{"azure_blob.abs_endpoint_url", "must be an https URL"}
	case e.AzureKey != "" && byClient:
		return &FieldError{"azure_blob.abs_account_key", "must not stand beside tenant and client"}
	case e.AzureKey != "":
		if err != nil || len(key) < 16 {
			return &FieldError{"azure_blob.abs_account_key", "must be base64"}
		}
	case !byClient:
		return &FieldError{"azure_blob.abs_account_key", "or tenant, client and secret are required"}
	case !tenantRE.MatchString(e.AzureTenant):
		return &FieldError{"azure_blob.abs_tenant_id", "must be a tenant's id"}
	case !tenantRE.MatchString(e.AzureClientID):
		return &FieldError{"azure_blob.abs_client_id", "must be a client's id"}
	case e.AzureSecret == "":
		return &FieldError{"azure_blob.abs_client_secret", "is required with this client"}
	}
	return nil
}

func (e External) openAzure(ctx context.Context) (*blob.Bucket, error) {
	at := e.AzureEndpoint
	if at == "" {
		at = "https://" + e.AzureAccount + ".blob.core.windows.net"
	}
	at, err := url.JoinPath(at, e.Bucket)
	if err != nil {
		return nil, &FieldError{"azure_blob.abs_endpoint_url", "must be an https URL"}
	}
	// No tries beyond the first: who puts tries again.
	opts := azcore.ClientOptions{Transport: e.HTTP, Retry: policy.RetryOptions{MaxRetries: -1}}
	client, err := e.azureClient(at, opts)
	if err != nil {
		return nil, err
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

func (e External) azureClient(at string, opts azcore.ClientOptions) (*container.Client, error) {
	if e.AzureKey != "" {
		cred, err := container.NewSharedKeyCredential(e.AzureAccount, e.AzureKey)
		if err != nil {
			return nil, &FieldError{"azure_blob.abs_account_key", "must be base64"}
		}
		return container.NewClientWithSharedKeyCredential(at, cred, &container.ClientOptions{ClientOptions: opts})
	}
	cred, err := azidentity.NewClientSecretCredential(e.AzureTenant, e.AzureClientID, e.AzureSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: opts})
	if err != nil {
		return nil, fmt.Errorf("read credentials of the client: %w", err)
	}
	return container.NewClient(at, cred, &container.ClientOptions{ClientOptions: opts})
}
