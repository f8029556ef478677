//! Per-core counters, histograms and access logs of Ringway.
