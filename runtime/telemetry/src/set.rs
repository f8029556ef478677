//! Sets of cells declared in one table: name, kind and help of each beside its field.

use crate::{Counter, Gauge, Histogram, Level};

/// A struct of cells that belong to one thing: a listener, a cluster. Made by the `stats!` macro of this crate.
pub trait StatSet: Default + Send + Sync + Sized + 'static {
    /// What the set is called.
    const INFO: SetInfo;
    /// Its cells, in the order in which they are shown.
    const ROWS: &'static [Row<Self>];
}

/// What a set is called wherever it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetInfo {
    /// The first word of its names: `cluster` in `cluster.app.upstream_rq_total`.
    pub prefix: &'static str,
    /// The Prometheus label that names the thing; `None` when there is but one of it.
    pub label: Option<&'static str>,
    /// What stands between the thing and the names of its cells: `outlier_detection` in
    /// `cluster.app.outlier_detection.ejections_active`; mostly nothing.
    pub group: &'static str,
}

/// One cell of a set.
pub struct Row<S> {
    /// Its name, the last word: `upstream_rq_total`.
    pub name: &'static str,
    /// What it counts, one sentence.
    pub help: &'static str,
    /// Where it is in the set, and of which kind.
    pub cell: Cell<S>,
}

/// Finds a cell in its set.
pub enum Cell<S> {
    /// A [`Counter`].
    Counter(fn(&S) -> &Counter),
    /// A [`Gauge`].
    Gauge(fn(&S) -> &Gauge),
    /// A [`Level`].
    Level(fn(&S) -> &Level),
    /// A [`Histogram`].
    Histogram(fn(&S) -> &Histogram),
}

/// Declares a [`StatSet`].
macro_rules! stats {
    (
        $(#[$doc:meta])*
        pub struct $name:ident in $prefix:literal $(by $label:literal)? $(under $group:literal)? {
            $($kind:ident $field:ident: $help:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $(#[doc = $help] pub $field: $crate::set::stats!(@type $kind),)*
        }

        impl $crate::StatSet for $name {
            const INFO: $crate::SetInfo = $crate::SetInfo {
                prefix: $prefix,
                label: $crate::set::stats!(@label $($label)?),
                group: concat!($($group)?),
            };
            const ROWS: &'static [$crate::Row<Self>] = &[$($crate::Row {
                name: stringify!($field),
                help: $help,
                cell: $crate::set::stats!(@cell $kind, |set| &set.$field),
            },)*];
        }
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
    (@type counter) => { $crate::Counter };
    (@type gauge) => { $crate::Gauge };
    (@type level) => { $crate::Level };
    (@type histogram) => { $crate::Histogram };
    (@cell counter, $find:expr) => { $crate::Cell::Counter($find) };
    (@cell gauge, $find:expr) => { $crate::Cell::Gauge($find) };
    (@cell level, $find:expr) => { $crate::Cell::Level($find) };
    (@cell histogram, $find:expr) => { $crate::Cell::Histogram($find) };
}

pub(crate) use stats;
