//! dcc budget: what was used, what the limits are, and setting them.

use clap::{ArgGroup, Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use dcc_api::door::{Paging, Query};
use dcc_core::budget::{Amount, Budget, BudgetScope, OnSoft, Totals};
use dcc_core::ids::SessionId;
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::{Failure, Outcome};

use super::Cli;
use super::output::table;
use super::work::{items, wp_id};

#[derive(Subcommand, Debug)]
pub enum BudgetCommand {
    /// Limits and what was used: the project, packets, sessions; what was used of each provider
    Show,
    /// Set the limits of the project, or of one packet or session
    Set(SetArgs),
}

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("limits").args(["max_tokens", "max_cost", "max_wall", "clear"]).required(true).multiple(true)))]
pub struct SetArgs {
    #[arg(long, conflicts_with = "session")]
    pub wp: Option<String>,
    #[arg(long)]
    pub session: Option<String>,
    /// Tokens in and out together
    #[arg(long)]
    pub max_tokens: Option<u64>,
    /// A decimal amount such as 4.10
    #[arg(long)]
    pub max_cost: Option<String>,
    #[arg(long, default_value = "USD")]
    pub currency: String,
    /// Seconds in turns
    #[arg(long, value_name = "SECONDS")]
    pub max_wall: Option<u64>,
    /// Warn at this percent of each limit
    #[arg(long, default_value_t = 80)]
    pub soft: u8,
    /// At the soft threshold: warn, or pause the session when its turn ends
    #[arg(long, default_value = "warn", value_parser = ["warn", "pause"])]
    pub on_soft: String,
    /// Back to what the configuration says
    #[arg(long, conflicts_with_all = ["max_tokens", "max_cost", "max_wall"])]
    pub clear: bool,
}

pub fn run(cli: &Cli, command: BudgetCommand) -> Outcome<u8> {
    match command {
        BudgetCommand::Show => {
            let value = cli.query(&Query::Budgets { paging: Paging::default() })?;
            cli.out.show(&value, |value| table(&["budget of", "tokens", "of", "cost", "of", "seconds", "of", "warn at", ""], items(value).map(row).collect()));
            Ok(0)
        }
        BudgetCommand::Set(args) => set(cli, args),
    }
}

fn set(cli: &Cli, args: SetArgs) -> Outcome<u8> {
    let budget = (!args.clear)
        .then(|| {
            Ok::<_, Failure>(Budget {
                max_tokens: args.max_tokens,
                max_cost: args.max_cost.as_deref().map(Amount::parse).transpose()?,
                currency: args.currency.clone(),
                max_wall_ms: args.max_wall.map(|s| s.saturating_mul(1000)),
                soft_percent: args.soft,
                on_soft: if args.on_soft == "pause" { OnSoft::Pause } else { OnSoft::Warn },
            })
        })
        .transpose()?;
    let session_id: Option<SessionId> = match &args.session {
        Some(session) => Some(cli.resolve(cli.link()?.as_ref(), "session", session)?),
        None => None,
    };
    let wp_id = args.wp.as_deref().map(wp_id).transpose()?;
    cli.submit(Op::BudgetSet, json!({ "budget": budget }), Bindings { session_id, wp_id, ..Bindings::default() })
}

fn row(row: &Value) -> Vec<String> {
    let name = serde_json::from_value::<BudgetScope>(row.clone()).map_or_else(|_| format!("provider {}", super::work::text(row, "provider")), |scope| scope.name());
    let budget: Budget = serde_json::from_value(row["budget"].clone()).unwrap_or_default();
    let totals: Totals = serde_json::from_value(row["totals"].clone()).unwrap_or_default();
    let none = || "-".to_owned();
    let mut cost = totals.cost.as_ref().map_or_else(none, |c| format!("{} {} {}", c.amount, c.currency, c.source.as_str()));
    for (currency, amount) in &totals.elsewhere {
        cost = format!("{cost}, {amount} {currency}");
    }
    let foreign = row["crossings"].as_array().and_then(|all| all.iter().find_map(|c| c["foreign"].as_str()));
    let over = row["crossings"].as_array().is_some_and(|all| all.iter().any(|c| c["level"] == "hard"));
    let near = row["crossings"].as_array().is_some_and(|all| !all.is_empty());
    vec![
        name,
        totals.tokens().to_string(),
        budget.max_tokens.map_or_else(none, |n| n.to_string()),
        cost,
        budget.max_cost.map_or_else(none, |a| format!("{a} {}", budget.currency)),
        (totals.wall_ms / 1000).to_string(),
        budget.max_wall_ms.map_or_else(none, |ms| (ms / 1000).to_string()),
        if budget.is_unlimited() { none() } else { format!("{} %", budget.soft_percent) },
        match (over, near) {
            _ if foreign.is_some() => format!("stopped: a cost in {} cannot be compared with the limit", foreign.unwrap_or_default()),
            (true, _) => "used up".to_owned(),
            (false, true) => "near".to_owned(),
            (false, false) => String::new(),
        },
    ]
}
