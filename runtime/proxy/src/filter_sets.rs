//! Which filters look at the requests of which route, on one worker.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{DynFilter, Env, FilterCx};

use crate::plan::{FilterPlan, FilterPlans, FilterSlot};

/// The filters of a chain's requests.
#[derive(Default)]
pub(crate) struct FilterSets {
    /// Of requests whose route has none of its own.
    usual: Rc<[NamedFilter]>,
    /// Of the routes that have, in the order of the table's.
    by_route: Vec<Rc<[NamedFilter]>>,
    /// Where those are by the names of their routes, for who takes over from them.
    index: HashMap<Arc<str>, usize>,
}

/// A filter with its name in configurations.
#[derive(Clone)]
pub(crate) struct NamedFilter {
    name: &'static str,
    pub(crate) filter: Rc<dyn DynFilter>,
    /// It stands on a route, and cannot send its requests to another one.
    pub(crate) of_route: bool,
}

/// What filters are built with.
pub(crate) struct Builder<'a> {
    pub(crate) env: &'a Rc<dyn Env>,
    pub(crate) worker: usize,
    pub(crate) workers: usize,
}

impl FilterSets {
    /// The filters of a plan; each takes over from the one of its name before, at its route or in the chain.
    pub(crate) fn build(plans: &FilterPlans, old: Option<&Self>, with: &Builder<'_>) -> Self {
        let mut known: Vec<_> = old.iter().flat_map(|old| old.usual.iter()).collect();
        let usual: Vec<_> = plans.usual.iter().map(|plan| with.build(plan, &mut known, false)).collect();
        let by_route = plans.by_route.iter().map(|(name, slots)| {
            let before = old.and_then(|old| old.by_route.get(*old.index.get(name)?));
            let mut known: Vec<_> = before.iter().flat_map(|set| set.iter()).collect();
            let filter = |slot: &FilterSlot| match slot {
                FilterSlot::Usual(at) => usual.get(*at).cloned().flatten(),
                FilterSlot::Own(plan) => with.build(plan, &mut known, true),
            };
            slots.iter().filter_map(filter).collect()
        });
        let by_route = by_route.collect();
        let index = plans.by_route.iter().enumerate().map(|(at, (name, _))| (Arc::clone(name), at)).collect();
        Self { usual: usual.into_iter().flatten().collect(), by_route, index }
    }

    /// Has all of them give back what they do not use.
    pub(crate) fn settle(&self) {
        self.usual.iter().for_each(|named| named.filter.settle());
        let own = self.by_route.iter().flat_map(|set| set.iter()).filter(|named| named.of_route);
        own.for_each(|named| named.filter.settle());
    }

    /// The filters for a route's set, or the usual ones.
    pub(crate) fn of(&self, set: Option<u32>) -> &Rc<[NamedFilter]> {
        set.and_then(|set| self.by_route.get(set as usize)).unwrap_or(&self.usual)
    }
}

impl Builder<'_> {
    fn build(&self, plan: &FilterPlan, known: &mut Vec<&NamedFilter>, of_route: bool) -> Option<NamedFilter> {
        let name = plan.filter.spec.name;
        let before = known.iter().position(|old| old.name == name).map(|at| known.remove(at));
        let cx = FilterCx { env: Rc::clone(self.env), stats: plan.stats.worker(self.worker), workers: self.workers };
        let built = (plan.filter.spec.build)(Arc::clone(&plan.filter.options), before.map(|old| &*old.filter), cx);
        // Options are compiled by the same specification.
        debug_assert!(built.is_some(), "options of another filter than {name}");
        built.map(|filter| NamedFilter { name, filter, of_route })
    }
}
