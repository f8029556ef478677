//! Everything Ringway counts. Names are Envoy's where the thing is, so that dashboards carry over.

use crate::set::stats;

stats! {
    /// The process. Written by the control plane.
    pub struct ServerStats in "server" {
        level live: "1 while the process takes new connections, 0 while it drains.";
        level state: "0 live, 1 draining, 2 before the first configuration, 3 initialising.";
        level uptime: "Seconds since the process began.";
        level concurrency: "Workers.";
        level total_connections: "Downstream connections that are open.";
        level memory_allocated: "Resident bytes of the process.";
    }
}

stats! {
    /// Configurations as they come and go. Written by the control plane.
    pub struct ConfigStats in "config" {
        counter update_attempt: "Configurations offered.";
        counter update_success: "Configurations published.";
        counter update_rejected: "Configurations refused for an error.";
        counter rollback: "Rollbacks to an earlier snapshot.";
        level generation: "Generation of the snapshot in force.";
        level update_time: "Seconds since 1970 at the last publication.";
        histogram update_duration: "Time from reading a configuration to its publication, in milliseconds.";
    }
}

stats! {
    /// All listeners. Written by the control plane.
    pub struct ListenerManagerStats in "listener_manager" {
        counter listener_added: "Listeners added.";
        counter listener_modified: "Listeners changed.";
        counter listener_removed: "Listeners removed.";
        counter listener_create_failure: "Listeners that could not be bound.";
        level total_listeners_active: "Listeners that accept.";
        level workers_started: "1 once all workers run.";
    }
}

stats! {
    /// All clusters. Written by the control plane.
    pub struct ClusterManagerStats in "cluster_manager" {
        counter cluster_added: "Clusters added.";
        counter cluster_modified: "Clusters changed.";
        counter cluster_removed: "Clusters removed.";
        level active_clusters: "Clusters of the snapshot in force.";
    }
}

stats! {
    /// Access logs. Workers count lines, filtered and exported streams, the log thread what has to do with files.
    pub struct AccessLogStats in "access_logs" {
        counter logs_written: "Lines handed to the log thread.";
        counter logs_dropped: "Lines dropped because the log thread was behind, or lost by a failed write.";
        counter logs_filtered: "Streams that a log's filter left out.";
        counter logs_exported: "Streams that were told to exporters.";
        level exports_dropped: "Those of them that were lost because the control plane was behind, ever.";
        counter bytes_written: "Bytes written to files.";
        counter write_completed: "Writes to files.";
        counter write_failed: "Writes that failed, the disk being full, say.";
        counter rotations: "Files that were rotated.";
        counter rotate_failed: "Files that could not be rotated; they grow on.";
        counter reopen_failed: "Files that could not be opened again; the old one stays in use.";
    }
}

stats! {
    /// Tracing. The last two are written by the control plane, the others by workers.
    pub struct TracingStats in "tracing" {
        counter random_sampling: "Requests whose trace is recorded by chance.";
        counter header_sampling: "Requests whose trace is recorded for their header fields.";
        counter client_enabled: "Requests whose trace is recorded because the client forced it.";
        counter parent_sampled: "Requests whose trace is recorded because the caller's is.";
        counter not_sampled: "Requests whose trace is not recorded.";
        counter rate_limited: "Requests whose trace would be recorded but for the rate.";
        counter malformed: "Trace ids of callers that could not be read.";
        level reports_dropped: "Streams lost on their way to the control plane, which was behind.";
        counter spans_collected: "Spans that came to the control plane.";
    }
}

stats! {
    /// Metrics by sets of labels. The control plane writes the first, workers and it the second.
    pub struct MetricsStats in "metrics" {
        level label_sets: "Sets of labels that are told apart.";
        counter overflowed: "Requests and connections counted without labels of their own, since there are too many.";
    }
}

stats! {
    /// One worker: its loop and its engine.
    pub struct WorkerStats in "worker" by "envoy_worker_id" {
        counter loop_turns: "Turns of the loop.";
        counter task_polls: "Polls of tasks.";
        counter task_panics: "Tasks that ended by a panic.";
        gauge tasks_active: "Tasks that have not ended.";
        counter busy_us: "Microseconds not spent waiting.";
        counter ring_enters: "Enters of the ring.";
        counter ring_completions: "Completions reaped.";
        counter recv_starved: "Receives that ended for want of buffers.";
        counter recv_paused: "Receives paused because their consumer was slow.";
        counter linger_expired: "Connections cut before everything was delivered.";
        gauge buffer_bytes: "Bytes of receive buffers in use.";
        gauge timers_active: "Timers that are set.";
        counter connections_handed_off: "Connections given to a less busy worker.";
        gauge snapshot_generation: "Generation of the snapshot this worker uses.";
    }
}

stats! {
    /// One listener on one worker.
    pub struct ListenerStats in "listener" by "envoy_listener_address" {
        counter downstream_cx_total: "Connections accepted.";
        gauge downstream_cx_active: "Connections that are open.";
        counter downstream_cx_destroy: "Connections closed.";
        counter downstream_cx_overflow: "Connections refused by a limit.";
        counter downstream_cx_idle_timeout: "Connections closed for being idle.";
        counter downstream_accept_failed: "Accepts that failed, for want of file descriptors, say.";
        counter downstream_pre_cx_timeout: "Connections closed because they did not show in time what they are.";
        counter no_filter_chain_match: "Connections closed because no filter chain or protocol is for them.";
        counter proxy_proto_error: "Connections closed for a missing or malformed PROXY header.";
        counter ssl_handshake: "TLS handshakes completed.";
        counter ssl_session_reused: "TLS handshakes that resumed a session.";
        counter ssl_connection_error: "TLS handshakes that failed.";
        counter ssl_fail_verify_no_cert: "TLS handshakes that failed for want of a client certificate.";
        counter ssl_fail_verify_error: "TLS handshakes that failed because the client's certificate could not be verified.";
        counter ssl_fail_verify_san: "TLS handshakes that failed because the client's certificate has none of the names wanted.";
        counter ssl_admission_overflow: "Connections closed because too many TLS handshakes were under way.";
        histogram downstream_cx_length_ms: "Lifetime of connections in milliseconds.";
    }
}

stats! {
    /// HTTP of one listener on one worker.
    pub struct HttpStats in "http" by "envoy_http_conn_manager_prefix" {
        counter downstream_cx_total: "Connections that spoke HTTP.";
        gauge downstream_cx_active: "Connections that are open.";
        counter downstream_cx_destroy: "Connections closed.";
        counter downstream_cx_destroy_active_rq: "Connections closed with a request under way.";
        counter downstream_cx_drain_close: "Connections that ended in order while the process drained.";
        counter downstream_cx_idle_timeout: "Connections closed for being idle.";
        counter downstream_cx_protocol_error: "Connections closed for a breach of protocol.";
        counter downstream_cx_rx_bytes_total: "Bytes of bodies and tunnels received from downstreams, without heads and framing.";
        counter downstream_cx_tx_bytes_total: "Bytes of bodies and tunnels sent to downstreams, without heads and framing.";
        counter downstream_rq_total: "Requests.";
        gauge downstream_rq_active: "Requests under way.";
        counter downstream_rq_completed: "Requests that ended with a response.";
        counter downstream_rq_1xx: "Interim responses passed on.";
        counter downstream_rq_2xx: "Responses of class 2xx.";
        counter downstream_rq_3xx: "Responses of class 3xx.";
        counter downstream_rq_4xx: "Responses of class 4xx.";
        counter downstream_rq_5xx: "Responses of class 5xx.";
        counter downstream_rq_rx_reset: "Requests that the downstream gave up.";
        counter downstream_rq_tx_reset: "Responses cut short by the proxy.";
        counter downstream_rq_too_large: "Requests refused for the size of their body (413).";
        counter downstream_rq_header_overflow: "Requests refused for the size or number of their headers (431).";
        counter downstream_rq_header_timeout: "Requests whose head took too long.";
        counter downstream_rq_idle_timeout: "Tunnels ended for being idle.";
        counter no_route: "Requests that no route matched.";
        counter no_cluster: "Requests whose route named a cluster that is not there.";
        histogram downstream_rq_time: "Time from the first byte of a request to the last of its response, in milliseconds.";
    }
}

stats! {
    /// The TCP proxy of one listener on one worker.
    pub struct TcpStats in "tcp" by "envoy_tcp_prefix" {
        counter downstream_cx_total: "Connections proxied.";
        gauge downstream_cx_active: "Connections that are open.";
        counter downstream_cx_no_route: "Connections whose cluster is not there.";
        counter downstream_cx_rx_bytes_total: "Bytes received from downstreams.";
        counter downstream_cx_tx_bytes_total: "Bytes sent to downstreams.";
        counter idle_timeout: "Connections closed for being idle.";
    }
}

stats! {
    /// One cluster on one worker; changes of its hosts are counted by the control plane.
    pub struct ClusterStats in "cluster" by "envoy_cluster_name" {
        counter upstream_cx_total: "Connections opened.";
        gauge upstream_cx_active: "Connections that are open.";
        counter upstream_cx_connect_fail: "Connects that failed.";
        counter upstream_cx_connect_timeout: "Connects that took too long.";
        counter upstream_cx_overflow: "Times the limit on connections was in the way.";
        counter upstream_cx_destroy: "Connections closed.";
        counter upstream_cx_destroy_local: "Connections closed by the proxy.";
        counter upstream_cx_destroy_remote: "Connections closed by the upstream.";
        counter upstream_cx_idle_timeout: "Connections closed for being idle.";
        counter upstream_cx_max_requests: "Connections closed after as many requests as they may carry.";
        counter upstream_cx_protocol_error: "Connections closed for a breach of protocol.";
        counter upstream_cx_none_healthy: "Requests for which no host could be picked.";
        counter upstream_cx_rx_bytes_total: "Bytes received from upstreams, of HTTP those of bodies.";
        counter upstream_cx_tx_bytes_total: "Bytes sent to upstreams, of HTTP those of bodies.";
        histogram upstream_cx_connect_ms: "Time to connect in milliseconds.";
        counter upstream_rq_total: "Requests sent or waiting to be.";
        gauge upstream_rq_active: "Requests under way.";
        counter upstream_rq_completed: "Requests that ended with a response.";
        counter upstream_rq_1xx: "Interim responses.";
        counter upstream_rq_2xx: "Responses of class 2xx.";
        counter upstream_rq_3xx: "Responses of class 3xx.";
        counter upstream_rq_4xx: "Responses of class 4xx.";
        counter upstream_rq_5xx: "Responses of class 5xx.";
        counter upstream_rq_exception: "Framed calls in which the service threw; they are responses of class 2xx too.";
        counter upstream_rq_grpc_ok: "gRPC calls that ended with status OK.";
        counter upstream_rq_grpc_failed: "gRPC calls that ended with another status.";
        counter upstream_rq_timeout: "Requests that the upstream did not answer in time.";
        counter upstream_rq_rx_reset: "Requests that the upstream reset.";
        counter upstream_rq_tx_reset: "Requests that the proxy reset.";
        counter upstream_rq_cancelled: "Requests given up while they waited for a connection.";
        counter upstream_rq_retry: "Retries.";
        counter upstream_rq_retry_success: "Requests whose retry was answered well.";
        counter upstream_rq_retry_limit_exceeded: "Requests that were not retried because they had been as often as they may.";
        counter upstream_rq_retry_overflow: "Requests that were not retried because too many retries were under way.";
        counter upstream_rq_retry_backoff_exponential: "Retries after a pause of the usual back-off.";
        counter upstream_rq_retry_backoff_ratelimited: "Retries after a pause that a response asked for.";
        counter upstream_rq_replay_overflow: "Requests with more content than is kept for a retry.";
        gauge upstream_rq_replay_bytes: "Bytes of requests' contents kept for a retry.";
        counter upstream_rq_fallback: "Requests that went to the fallback of their route, because the cluster was down.";
        counter upstream_rq_mirrored: "Copies of other clusters' requests that were sent to it, or tried to.";
        counter upstream_rq_mirror_overflow: "Requests that were not copied to it because their content is too large.";
        counter upstream_rq_per_try_timeout: "Tries that took too long.";
        counter upstream_rq_per_try_idle_timeout: "Tries given up because nothing moved in them.";
        counter upstream_rq_pending_total: "Requests that waited for a connection.";
        gauge upstream_rq_pending_active: "Requests that wait for a connection.";
        counter upstream_rq_pending_overflow: "Requests refused by the limit on waiting or active requests.";
        counter upstream_rq_pending_failure_eject: "Waiting requests failed because no connection came about.";
        histogram upstream_rq_time: "Time from a request to the end of its response, in milliseconds.";
        level membership_total: "Hosts.";
        level membership_healthy: "Hosts that may be picked.";
        counter membership_change: "Changes of the hosts.";
        counter update_success: "Changes of the file of its endpoints that were taken.";
        counter update_rejected: "Changes of the file of its endpoints that could not be used.";
        counter lb_healthy_panic: "Picks among all hosts, because too few were healthy.";
    }
}

stats! {
    /// Outlier detection of one cluster. Written by the control plane.
    pub struct OutlierStats in "cluster" by "envoy_cluster_name" under "outlier_detection" {
        gauge ejections_active: "Hosts that are ejected.";
        counter ejections_overflow: "Hosts that stayed because too many were ejected already.";
        counter ejections_enforced_total: "Hosts ejected.";
        counter ejections_enforced_consecutive_5xx: "Hosts ejected for 5xx in a row.";
        counter ejections_detected_consecutive_5xx: "Hosts found out for 5xx in a row, ejected or not.";
        counter ejections_enforced_consecutive_gateway_failure: "Hosts ejected for gateway failures in a row.";
        counter ejections_detected_consecutive_gateway_failure: "Hosts found out for gateway failures in a row, ejected or not.";
        counter ejections_enforced_consecutive_local_origin_failure: "Hosts ejected for failures of this side in a row.";
        counter ejections_detected_consecutive_local_origin_failure: "Hosts found out for failures of this side in a row, ejected or not.";
        counter ejections_enforced_success_rate: "Hosts ejected for a low success rate.";
        counter ejections_detected_success_rate: "Hosts found out for a low success rate, ejected or not.";
        counter ejections_enforced_local_origin_success_rate: "Hosts ejected for a low success rate of connections.";
        counter ejections_detected_local_origin_success_rate: "Hosts found out for a low success rate of connections, ejected or not.";
        counter ejections_enforced_failure_percentage: "Hosts ejected for a high share of failures.";
        counter ejections_detected_failure_percentage: "Hosts found out for a high share of failures, ejected or not.";
        counter ejections_enforced_local_origin_failure_percentage: "Hosts ejected for a high share of failed connections.";
        counter ejections_detected_local_origin_failure_percentage: "Hosts found out for a high share of failed connections, ejected or not.";
    }
}

stats! {
    /// Active health checks of one cluster. Written by the control plane.
    pub struct HealthCheckStats in "cluster" by "envoy_cluster_name" under "health_check" {
        counter attempt: "Checks made.";
        counter success: "Checks that succeeded.";
        counter failure: "Checks that failed, and responses that said x-envoy-immediate-health-check-fail.";
        counter passive_failure: "Responses to requests that said x-envoy-immediate-health-check-fail.";
        counter network_failure: "Checks that failed for want of an answer.";
        level healthy: "Hosts that the checks find well.";
    }
}

stats! {
    /// One exporter. Written by the control plane.
    pub struct ExporterStats in "exporter" by "ringway_exporter" {
        counter sent: "Records that a collector took.";
        counter dropped: "Records dropped because too many were waiting.";
        counter failed: "Records given up because they could not be sent.";
        counter rejected: "Records that a collector refused.";
        counter requests: "Messages sent, repetitions included.";
        counter retries: "Messages sent again.";
    }
}
