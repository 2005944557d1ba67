#!/usr/bin/env bash
# Walks through the server API of a running program with curl, openssl and jq,
# as a backend would use it, and ends at the first answer that is not right.
#
#   URL=http://127.0.0.1:8080 KEY=... SECRET=... cmd/stillwatch/testdata/walk.sh
#
# HOOK, if it is set, is an address that receives webhooks from then on.
set -euo pipefail
: "${URL:?}" "${KEY:?}" "${SECRET:?}"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# jwt CLAIMS [SECRET] [ALG] prints a token. What has no iat stays without.
jwt() {
  local head body
  head=$(printf '{"alg":"%s","typ":"JWT"}' "${3:-HS256}" | base64url)
  body=$(printf '%s' "$1" | base64url)
  if [ "${3:-HS256}" = none ]; then
    printf '%s.%s.' "$head" "$body"
    return
  fi
  printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "${2:-$SECRET}" -binary | base64url)"
}

SERVER=$(jwt '{"server":true}')
TOKEN=$SERVER
ANSWER= STATUS= STEPS=0

fail() {
  printf 'walk: %s\n  status %s, answer %s\n' "$1" "$STATUS" "$ANSWER" >&2
  exit 1
}

# want STATUS METHOD PATH [BODY] makes a request and checks its status, and
# that the answer has the shape that all have.
want() {
  local expected=$1 method=$2 path=$3 sep='?' out args=()
  case $path in *\?*) sep='&' ;; esac
  if [ $# -gt 3 ]; then args=(-d "$4"); fi
  out=$(curl -sS --max-time 3 -X "$method" "$URL$path${sep}api_key=$KEY" -H "Authorization: $TOKEN" -H 'stream-auth-type: jwt' \
    -H 'Content-Type: application/json' -H 'Accept: application/json' -H 'x-stream-client: walk-1' "${args[@]}" -w '\n%{http_code}')
  STATUS=${out##*$'\n'}
  ANSWER=${out%$'\n'*}
  STEPS=$((STEPS + 1))
  printf '%3d  %s %-6s %s\n' "$STEPS" "$STATUS" "$method" "$path"
  [ "$STATUS" = "$expected" ] || fail "$method $path: want $expected"
  has '.duration | test("^[0-9.]+ms$")'
  if [ "$STATUS" -ge 400 ]; then
    has '(.code | type) == "number" and (.message | length) > 0 and .StatusCode == .status_code and (.exception_fields | type) == "object" and .details == [] and .unrecoverable != null and (.more_info | length) > 0'
    has ".status_code == $STATUS"
  fi
}

# has FILTER checks the last answer with jq.
has() { jq -e "$1" >/dev/null <<<"$ANSWER" || fail "want $1"; }

# soon PATH FILTER reads until the answer fits: what a moderator asks for takes
# effect a moment later.
soon() {
  for _ in $(seq 100); do
    want 200 GET "$1"
    if jq -e "$2" >/dev/null <<<"$ANSWER"; then return; fi
    sleep 0.1
  done
  fail "want $2 within ten seconds"
}

# refused CODE METHOD PATH [BODY] wants a 401 with that code.
refused() {
  local code=$1
  shift
  want 401 "$@"
  has ".code == $code"
}

run=$RANDOM$RANDOM
type=walk$run call=/api/v2/video/call/walk$run/room
say() { printf '%s\n' "$1"; }

say 'call types'
want 201 POST /api/v2/video/calltypes "{\"name\":\"$type\",\"grants\":{\"admin\":[\"start-frame-record-call\",\"stop-frame-record-call\"],\"user\":[]},\"unknown\":{\"field\":1}}"
has ".name == \"$type\" and .settings.frame_recording.mode != null"
want 200 PUT "/api/v2/video/calltypes/$type" '{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}}}'
has '.settings.frame_recording == {"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}'
has '(.created_at | test("Z$")) and (.grants.admin | length) == 2 and .grants.user == []'
want 200 GET /api/v2/video/calltypes
has ".call_types[\"$type\"].name == \"$type\" and .call_types.default.name == \"default\" and (.call_types.default | has(\"duration\") | not)"
want 200 GET "/api/v2/video/calltypes/$type"

if [ -n "${HOOK:-}" ]; then
  say 'webhook'
  want 200 PATCH /api/v2/app "{\"webhook_url\":\"$HOOK\",\"enable_hook_payload_compression\":false}"
  want 200 GET /api/v2/app
  has ".app.webhook_url == \"$HOOK\""
fi

say 'a call'
want 201 POST "$call" '{"data":{"created_by_id":"alice","custom":{"room":"7"},"members":[{"user_id":"alice","role":"host"},{"user_id":"bob"}],"settings_override":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":2,"quality":"720p"}}},"ring":false,"notify":false,"members_limit":100}'
has ".created == true and .call.cid == \"$type:room\" and .call.custom.room == \"7\" and .call.created_by.id == \"alice\" and (.members | length) == 2"
has '.call.settings.frame_recording.capture_interval_in_seconds == 2 and .call.egress.frame_recording.status == "running"'
has '(.own_capabilities | index("start-frame-record-call")) != null and .call.blocked_user_ids == [] and (.call.created_by.teams | type) == "array"'
want 200 POST "$call" '{"data":{"created_by_id":"alice"}}'
has '.created == false'
want 200 GET "$call?members_limit=1"
has '(.members | length) == 1'
want 200 POST /api/v2/video/calls "{\"filter_conditions\":{\"type\":\"$type\"},\"sort\":[{\"field\":\"created_at\",\"direction\":-1}],\"limit\":5}"
has ".calls | length == 1 and .[0].call.cid == \"$type:room\""

say 'frame recording'
want 200 POST "$call/stop_frame_recording"
want 200 GET "$call"
has '.call.egress.frame_recording == null or .call.egress.frame_recording.status != "running"'
want 200 POST "$call/start_frame_recording"
want 200 POST "$call/start_frame_recording" '{}'
want 200 GET "$call"
has '.call.egress.frame_recording.status == "running"'
want 200 POST "$call/stop_frame_recording" '{}'

say 'full recordings: armed before anybody is there, and disarmed'
want 200 POST "$call/recordings/composite/start" '{}'
want 200 POST "$call/start_recording"
want 200 GET "$call"
has '.call.recording == true'
want 200 POST "$call/recordings/composite/stop"
want 200 POST "$call/stop_recording" '{}'
want 200 GET "$call/recordings"
has '.recordings == []'

say 'block, kick, mute'
want 200 POST "$call/block" '{"user_id":"bob"}'
want 200 GET "$call"
has '.call.blocked_user_ids == ["bob"]'
want 200 POST "$call/unblock" '{"user_id":"bob"}'
want 200 POST "$call/kick" '{"user_id":"bob","kicked_by_id":"alice"}'
want 200 POST "$call/mute_users" '{"user_ids":["bob"],"video":true,"muted_by_id":"alice"}'
want 200 POST "$call/user_permissions" '{"user_id":"bob","grant_permissions":["start-frame-record-call"]}'

say 'ban, unban, flag, review'
want 200 POST /api/v2/moderation/ban '{"target_user_id":"eve","banned_by_id":"mo","reason":"nudity","timeout":1440}'
soon '/api/v2/chat/query_banned_users?payload=%7B%22filter_conditions%22%3A%7B%22user_id%22%3A%22eve%22%7D%7D' '.bans | length >= 1 and .[0].user.id == "eve"'
want 200 POST '/api/v2/moderation/unban?target_user_id=eve' '{"unbanned_by_id":"mo"}'
want 200 POST /api/v2/moderation/flag "{\"entity_type\":\"call\",\"entity_id\":\"$type:room\",\"entity_creator_id\":\"bob\",\"reason\":\"nudity\",\"user_id\":\"mo\"}"
item=$(jq -r .item_id <<<"$ANSWER")
want 200 POST /api/v2/moderation/review_queue "{\"filter\":{\"status\":\"pending\",\"entity_type\":\"call\",\"entity_id\":\"$type:room\"},\"sort\":[{\"field\":\"created_at\",\"direction\":-1}],\"limit\":25,\"lock_items\":true,\"lock_duration\":300,\"lock_count\":10,\"user_id\":\"mo\"}"
has ".items | length == 1 and .[0].id == \"$item\" and .[0].entity_creator_id == \"bob\" and .[0].status == \"pending\""
has '.items[0] | (.flags | length) >= 1 and (.moderation_payload.images | type) == "array" and (.bans | type) == "array" and .languages == []'
want 200 GET "/api/v2/moderation/review_queue/$item"
want 200 POST /api/v2/moderation/submit_action "{\"item_id\":\"$item\",\"action_type\":\"ban\",\"ban\":{\"reason\":\"nudity\",\"timeout\":1440,\"shadow\":false,\"ip_ban\":false},\"user_id\":\"mo\"}"
has ".item.id == \"$item\""
want 200 POST /api/v2/moderation/submit_action "{\"item_id\":\"$item\",\"action_type\":\"unban\",\"unban\":{\"decision_reason\":\"looked again\"},\"user_id\":\"mo\"}"
want 400 POST /api/v2/moderation/submit_action "{\"item_id\":\"$item\",\"action_type\":\"delete_message\",\"user_id\":\"mo\"}"

say 'what is refused'
TOKEN=$(jwt '{"server":true}' 'another secret, which is long enough for it')
refused 43 GET "$call"
TOKEN=$(jwt '{"server":true}' '' none)
refused 43 GET "$call"
TOKEN=$(jwt "{\"user_id\":\"alice\",\"exp\":$(($(date +%s) - 60))}")
refused 40 GET "$call"
TOKEN='not a token'
refused 5 GET "$call"
TOKEN=$SERVER
good=$KEY KEY=nobody
refused 2 GET "$call"
KEY=$good
TOKEN=$(jwt '{"user_id":"carol","role":"user"}')
want 403 POST "$call/block" '{"user_id":"bob"}'
want 403 POST "$call/start_frame_recording"
want 403 POST /api/v2/moderation/ban '{"target_user_id":"bob"}'
want 403 GET /api/v2/app
TOKEN=$(jwt "{\"user_id\":\"bob\",\"call_cids\":[\"$type:other\"]}")
want 403 GET "$call"
TOKEN="Bearer $SERVER"
want 200 GET "$call"
TOKEN=$SERVER
want 404 POST /api/v2/video/call/nosuchtype/room '{"data":{"created_by_id":"alice"}}'
want 404 GET "/api/v2/video/call/$type/gone"
for interval in 1 61; do
  want 400 PUT "/api/v2/video/calltypes/$type" "{\"settings\":{\"frame_recording\":{\"mode\":\"auto-on\",\"capture_interval_in_seconds\":$interval}}}"
  has '.code == 4 and .exception_fields["settings.frame_recording.capture_interval_in_seconds"] != null'
done
want 400 PUT "/api/v2/video/calltypes/$type" '{"settings":{"frame_recording":{"mode":"auto-on","quality":"999p"}}}'
has '.exception_fields["settings.frame_recording.quality"] != null'
want 400 POST "$call/kick" '{'
want 400 POST "$call/recordings/holographic/start"

say 'unknown fields are ignored; a missing body is an empty object'
want 200 PUT "/api/v2/video/calltypes/$type" '{"settings":{"frame_recording":{"mode":"available"},"no_such_group":{"a":1}},"no_such_field":[1,2]}'
want 200 PUT "/api/v2/video/calltypes/$type"
want 200 POST /api/v2/video/calls
want 200 POST /api/v2/moderation/review_queue
want 200 POST "$call/kick" '{"user_id":"bob","surprise":{"deep":[{}]}}'

if [ -n "${HOOK:-}" ]; then
  say 'webhooks, compressed'
  want 200 PATCH /api/v2/app '{"enable_hook_payload_compression":true}'
  want 200 GET /api/v2/stillwatch/hooks
  hook=$(jq -r --arg url "$HOOK" '.hooks[] | select(.target == $url) | .id' <<<"$ANSWER")
  want 200 POST "/api/v2/stillwatch/hooks/$hook/test"
  has '.ok == true and .status == 200'
  want 200 GET "/api/v2/stillwatch/hooks/$hook/deliveries?limit=5"
  has '.deliveries | type == "array"'
fi

say 'an event of your own, and the end'
want 200 POST "$call/event" '{"custom":{"walk":1},"user_id":"alice"}'
want 200 POST "$call/mark_ended"
want 200 GET "$call"
has '.call.ended_at != null'
want 200 POST "$call/delete" '{}'
want 404 GET "$call"
want 200 DELETE "/api/v2/video/calltypes/$type"
printf 'walk: %d requests, all as they should be\n' "$STEPS"
