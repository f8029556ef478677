//! `ringway-bench find-max`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::{FAILED, Load, Output, plan, rate};
use crate::assertion::Condition;
use crate::find_max::{Found, Search, Share, kept, search};
use crate::report::time;
use crate::run::{probe, run};
use crate::schedule::Shape;
use crate::worker::Plan;

const MAX_CONFIRM: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct FindMax {
    #[command(flatten)]
    load: Load,
    /// What must be true at the rate, such as 'p99<10ms,errors<0.1%'.
    #[arg(long)]
    slo: String,
    /// Requests per second to begin with.
    #[arg(long, default_value_t = 1000.0)]
    from: f64,
    /// Requests per second that are never exceeded.
    #[arg(long, default_value_t = 10_000_000.0)]
    most: f64,
    /// How close the bounds must be, in percent.
    #[arg(long, default_value_t = 3.0)]
    precision: f64,
    /// Runs at each rate of the search; most of them decide.
    #[arg(long, default_value_t = 3)]
    trials: usize,
    /// Further runs at each of the two bounds, from which the confidence follows; 0 for none.
    #[arg(long, default_value_t = 5)]
    confirm: usize,
}

pub(super) fn find_max(find: &FindMax) -> Result<ExitCode> {
    let objectives = Condition::parse_all(&find.slo).context("--slo")?;
    if find.load.rate.is_some() || find.load.replay.is_some() {
        bail!("find-max tries rates of its own: --rate and --replay are not for it");
    }
    if find.confirm > MAX_CONFIRM {
        bail!("--confirm must be from 0 to {MAX_CONFIRM}");
    }
    let plan = plan::plan(&find.load)?;
    probe(&plan).with_context(|| find.load.url.clone())?;
    let how = Search {
        from: rate::positive(&find.from.to_string())?,
        most: rate::positive(&find.most.to_string())?,
        precision: (find.precision / 100.0).clamp(0.001, 1.0),
        trials: find.trials.max(1),
        confirm: find.confirm,
    };
    let found = search(how, |rate| {
        let summary = match run(&Plan { shape: Shape::Constant(rate), ..plan.clone() }, |_| ()) {
            Ok(summary) => summary,
            Err(error) => {
                eprintln!("{rate:>10.0}/s  {error:#}");
                return Ok::<_, anyhow::Error>(false);
            }
        };
        let good = kept(&summary, &objectives);
        if !find.load.quiet {
            let (p50, p99) = (time(summary.latency_us(0.5)), time(summary.latency_us(0.99)));
            let verdict = if good { "holds" } else { "fails" };
            let (reached, errors) = (summary.rate(), summary.total.failed());
            eprintln!("{rate:>10.0}/s  {verdict}  reached {reached:.0}/s, p50 {p50}, p99 {p99}, {errors} errors");
        }
        Ok(good)
    })?;
    let mut out = std::io::stdout();
    if find.load.output == Output::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else if found.holds > 0.0 {
        out.write_all(text(&find.slo, &found).as_bytes())?;
    }
    if found.holds == 0.0 {
        eprintln!("ringway-bench: {} did not hold at any rate", find.slo);
        return Ok(ExitCode::from(FAILED));
    }
    Ok(ExitCode::SUCCESS)
}

/// What was found, for reading.
fn text(slo: &str, found: &Found) -> String {
    let runs = |rate: f64, share: Option<Share>| {
        // Without runs that confirm, those of the search.
        let searched = || found.tried.iter().rfind(|trial| trial.rate == rate).map(|trial| (trial.good, trial.of));
        let (good, of) = share.map(|share| (share.good, share.of)).or_else(searched).unwrap_or_default();
        format!("{rate:.0}/s ({good} of {of} runs)")
    };
    let mut out = format!("{slo} holds at {}", runs(found.holds, found.holds_share));
    match found.fails {
        Some(fails) => out += &format!("; it does not at {}\n", runs(fails, found.fails_share)),
        None => out += "; nothing above was found at which it does not\n",
    }
    match (found.confidence, found.fails) {
        (Some(confidence), Some(_)) => {
            let percent = (100.0 * confidence).floor();
            out += &format!(
                "with at least {percent} % confidence, the capacity is between the two: the rate that half of all runs \
                 hold,\nif runs are independent of each other and higher rates hold no more often\n"
            );
        }
        (Some(confidence), None) => {
            let percent = (100.0 * confidence).floor();
            out += &format!("with at least {percent} % confidence, more than half of all runs hold at that rate\n");
        }
        (None, _) => out += "how sure that is has not been shown: no runs confirm it, or they did not agree\n",
    }
    let shares = [(Some(found.holds), found.holds_share), (found.fails, found.fails_share)];
    for (rate, share) in shares.into_iter().filter_map(|(rate, share)| rate.zip(share)) {
        let (least, most) = (100.0 * share.least, 100.0 * share.most);
        out +=
            &format!("  of all runs at {rate:.0}/s, {least:.0} % to {most:.0} % would hold (Clopper-Pearson, 90 %)\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn found(most: f64, confirm: usize, limit: f64) -> String {
        let how = Search { from: 100.0, most, precision: 0.03, trials: 1, confirm };
        text("p99<1ms", &search(how, |rate| Ok::<_, Infallible>(rate <= limit)).unwrap())
    }

    #[test]
    fn no_more_is_said_than_was_shown() {
        let both = found(1e6, 5, 1000.0);
        assert!(both.contains("with at least 93 % confidence, the capacity is between"), "{both}");
        assert!(both.contains("(5 of 5 runs); it does not at"), "{both}");
        assert!(both.contains("55 % to 100 %") && both.contains("0 % to 45 %"), "{both}");
        let open = found(500.0, 10, 1000.0);
        assert!(open.contains("holds at 500/s (10 of 10 runs); nothing above was found"), "{open}");
        assert!(open.contains("98 % confidence, more than half"), "{open}");
        let unsure = found(1e6, 0, 1000.0);
        assert!(unsure.contains("(1 of 1 runs)") && unsure.contains("has not been shown"), "{unsure}");
    }
}
