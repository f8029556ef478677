//! Clusters, hosts, connection pools and load balancers of Ringway.
