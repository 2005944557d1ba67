package db

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"
)

// AppSettingsRow is the one row of app_settings.
type AppSettingsRow struct {
	bun.BaseModel `bun:"table:app_settings,alias:app"`
	ID            int `bun:",pk"`
	// HookCompression is enable_hook_payload_compression.
	HookCompression Bool
	UpdatedAt       Time
}

// AppSettings reads the settings that are not any hook's own; before the first
// change they are the zero values.
func AppSettings(ctx context.Context, tx bun.IDB) (row AppSettingsRow, err error) {
	err = tx.NewSelect().Model(&row).Where("id = 1").Scan(ctx)
	if IsNotFound(err) {
		return AppSettingsRow{ID: 1}, nil
	}
	if err != nil {
		return row, fmt.Errorf("read settings: %w", err)
	}
	return row, nil
}

// HookSettings is the JSON of hooks.settings: what a hook has beyond its
// columns, under the names of the API. Which fields count depends on the type
// of the hook.
type HookSettings struct {
	// Product is "", "all", "video" or "moderation".
	Product string `json:"product,omitempty"`
	// ShouldSendCustomEvents nil means yes.
	ShouldSendCustomEvents *bool         `json:"should_send_custom_events,omitempty"`
	FailoverConfig         *HookFailover `json:"failover_config,omitempty"`
	// BodyStyle is "", "native" or "file_callback".
	BodyStyle string `json:"body_style,omitempty"`
	Ordered   bool   `json:"ordered,omitempty"`

	SQSQueueURL string `json:"sqs_queue_url,omitempty"`
	SQSRegion   string `json:"sqs_region,omitempty"`
	// SQSAuthType is "keys", "resource" or "role".
	SQSAuthType string `json:"sqs_auth_type,omitempty"`
	SQSKey      string `json:"sqs_key,omitempty"`
	SQSRoleARN  string `json:"sqs_role_arn,omitempty"`

	SNSTopicARN    string `json:"sns_topic_arn,omitempty"`
	SNSRegion      string `json:"sns_region,omitempty"`
	SNSAuthType    string `json:"sns_auth_type,omitempty"`
	SNSKey         string `json:"sns_key,omitempty"`
	SNSRoleARN     string `json:"sns_role_arn,omitempty"`
	SNSEndpointURL string `json:"sns_endpoint_url,omitempty"`

	// AMQPURL is without its password; Secret(…, SecretAMQPURL) has it all.
	AMQPURL            string `json:"amqp_url,omitempty"`
	AMQPExchange       string `json:"amqp_exchange,omitempty"`
	AMQPProcessedQueue string `json:"amqp_processed_queue,omitempty"`
	AMQPFailureQueue   string `json:"amqp_failure_queue,omitempty"`

	// RedisURL is without its password; "" is the program's own Redis.
	RedisURL    string `json:"redis_url,omitempty"`
	RedisStream string `json:"redis_stream,omitempty"`
	RedisMaxLen int    `json:"redis_max_len,omitempty"`

	// Sealed are the secrets by their names below, each sealed for the hook's
	// id and the purpose HookSecretPurpose(name).
	Sealed map[string]string `json:"sealed,omitempty"`
}

// HookFailover says what happens to a hook that fails all the time.
type HookFailover struct {
	// FailingFor is in hours; 0 means 120.
	FailingFor   int    `json:"failing_for,omitempty"`
	NotifyHookID string `json:"notify_hook_id,omitempty"`
}

// Names of the secrets in HookSettings.Sealed. Those of URLs are the whole
// address with its password, and are there only if it has one.
const (
	SecretSQS      = "sqs_secret"
	SecretSNS      = "sns_secret"
	SecretAMQPURL  = "amqp_url"
	SecretRedisURL = "redis_url"
)

// HookSecretPurpose is what a hook's secret is sealed for.
func HookSecretPurpose(name string) string { return "hook." + name }

// Opener opens sealed secrets; *seal.Box is one.
type Opener interface {
	Open(purpose, owner, sealed string) (string, error)
}

// Secret opens a secret of the hook. One that was never given is "".
func (s HookSettings) Secret(box Opener, hookID, name string) (string, error) {
	sealed, ok := s.Sealed[name]
	if !ok {
		return "", nil
	}
	return box.Open(HookSecretPurpose(name), hookID, sealed)
}

// Details reads the hook's settings column.
func (h HookRow) Details() (s HookSettings, err error) {
	if len(h.Settings.V) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(h.Settings.V, &s); err != nil {
		return s, fmt.Errorf("read settings of hook %s: %w", h.ID, err)
	}
	return s, nil
}
