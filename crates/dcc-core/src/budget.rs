//! Budgets: limits on tokens, cost and time of a session, a packet or the project, and what was spent (SESSIONS 3). Pure.
//!
//! Invariants: money is counted in millionths of a unit, never in floating point; a cost names its source, so that an
//! estimate is never shown as a bill; amounts in different currencies are never added; a cost that cannot be compared with
//! a limit counts as over it, never as inside it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

use crate::failure::{Failure, Outcome};

/// Millionths of a currency's unit; on the wire a decimal text such as `4.10`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Amount(pub u64);

const MICROS: u64 = 1_000_000;

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// Reads a plain decimal number with at most six places.
    pub fn parse(text: &str) -> Outcome<Self> {
        let bad = || Failure::invalid(format!("{text:?} is not an amount such as 4.10"));
        let (units, places) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if units.is_empty() || !digits(units) || !digits(places) || places.len() > 6 || text.ends_with('.') {
            return Err(bad());
        }
        let units: u64 = units.parse().map_err(|_| bad())?;
        let places: u64 = format!("{places:0<6}").parse().map_err(|_| bad())?;
        units.checked_mul(MICROS).and_then(|micros| micros.checked_add(places)).map(Self).ok_or_else(bad)
    }
    /// From an agent's floating-point number; none when it is negative or no number. What is beyond reason is the largest
    /// amount there is, so that no limit is above it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn from_f64(amount: f64) -> Option<Self> {
        // Above 2^53 the number is no longer exact, and no session costs that.
        match amount {
            _ if amount.is_nan() || amount < 0.0 => None,
            _ if amount > 9.0e9 => Some(Self(u64::MAX)),
            _ => Some(Self((amount * MICROS as f64).round() as u64)),
        }
    }
}

impl fmt::Display for Amount {
    /// At least two places, more only when they say something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:06}", self.0 % MICROS);
        let kept = places.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / MICROS, &places[..kept])
    }
}
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(|f| serde::de::Error::custom(f.message))
    }
}

/// Where a cost comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The agent says so.
    Reported,
    /// Tokens times the operator's own price table.
    Estimated,
}

impl CostSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub amount: Amount,
    pub currency: String,
    pub source: CostSource,
}

/// What a session, or all of a packet or project, has used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cost: Option<Cost>,
    /// Costs in other currencies than that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub elsewhere: BTreeMap<String, Amount>,
    /// Time in turns, milliseconds.
    pub wall_ms: u64,
}

impl Totals {
    pub fn tokens(&self) -> u64 {
        self.tokens_in.saturating_add(self.tokens_out)
    }
    /// Adds another session's use; costs in other currencies stay apart. True when there are such.
    pub fn add(&mut self, other: &Self) -> bool {
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.wall_ms = self.wall_ms.saturating_add(other.wall_ms);
        if let Some(theirs) = &other.cost {
            match &mut self.cost {
                None => self.cost = Some(theirs.clone()),
                Some(mine) if mine.currency == theirs.currency => {
                    mine.amount = mine.amount.plus(theirs.amount);
                    if theirs.source == CostSource::Estimated {
                        // A sum with one estimate in it is an estimate.
                        mine.source = CostSource::Estimated;
                    }
                }
                Some(_) => self.add_elsewhere(&theirs.currency, theirs.amount),
            }
        }
        for (currency, amount) in &other.elsewhere {
            match &mut self.cost {
                Some(mine) if mine.currency == *currency => mine.amount = mine.amount.plus(*amount),
                _ => self.add_elsewhere(currency, *amount),
            }
        }
        // What was apart before this currency became the sum's own.
        if let Some(mine) = &mut self.cost
            && let Some(apart) = self.elsewhere.remove(&mine.currency)
        {
            mine.amount = mine.amount.plus(apart);
        }
        !self.elsewhere.is_empty()
    }
    fn add_elsewhere(&mut self, currency: &str, amount: Amount) {
        let sum = self.elsewhere.entry(currency.to_owned()).or_default();
        *sum = sum.plus(amount);
    }
    /// Takes a cumulative amount in: of each currency the largest stands (SESSIONS 5, fact 8).
    pub fn report_cost(&mut self, amount: Amount, currency: &str) {
        match &mut self.cost {
            Some(cost) if cost.source == CostSource::Reported && cost.currency == currency => cost.amount = cost.amount.max(amount),
            Some(cost) if cost.source == CostSource::Reported => {
                let known = self.elsewhere.entry(currency.to_owned()).or_default();
                *known = (*known).max(amount);
            }
            slot => *slot = Some(Cost { amount, currency: currency.to_owned(), source: CostSource::Reported }),
        }
    }
    /// Every cost with its currency.
    pub fn costs(&self) -> impl Iterator<Item = (&str, Amount)> {
        let main = self.cost.iter().map(|c| (c.currency.as_str(), c.amount));
        main.chain(self.elsewhere.iter().map(|(currency, amount)| (currency.as_str(), *amount)))
    }
    /// Estimates the cost from the tokens, unless the agent told one.
    pub fn estimate_cost(&mut self, model: Option<&str>, prices: &PriceTable) {
        if self.cost.as_ref().is_some_and(|c| c.source == CostSource::Reported) {
            return;
        }
        if let Some(estimated) = model.and_then(|m| prices.estimate(m, self.tokens_in, self.tokens_out)) {
            self.cost = Some(estimated);
        }
    }
}

/// What happens at the soft threshold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSoft {
    /// One warning with the total.
    #[default]
    Warn,
    /// The warning, and the session is paused when its turn ends.
    Pause,
}

/// Limits; none of a measure = unlimited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    pub max_tokens: Option<u64>,
    pub max_cost: Option<Amount>,
    /// Of `max_cost`.
    pub currency: String,
    /// Time in turns, milliseconds.
    pub max_wall_ms: Option<u64>,
    /// The soft threshold in percent of each limit, 1 to 99.
    pub soft_percent: u8,
    pub on_soft: OnSoft,
}

impl Default for Budget {
    fn default() -> Self {
        Self { max_tokens: None, max_cost: None, currency: "USD".to_owned(), max_wall_ms: None, soft_percent: 80, on_soft: OnSoft::Warn }
    }
}

impl Budget {
    pub fn is_unlimited(&self) -> bool {
        self.max_tokens.is_none() && self.max_cost.is_none() && self.max_wall_ms.is_none()
    }
    pub fn check(&self) -> Outcome<()> {
        let currency_fits = self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        match () {
            () if !(1..=99).contains(&self.soft_percent) => Err(Failure::invalid("the soft threshold is 1 to 99 percent")),
            () if !currency_fits => Err(Failure::invalid(format!("{:?} is not a currency code such as USD", self.currency))),
            () if self.max_tokens == Some(0) || self.max_wall_ms == Some(0) || self.max_cost == Some(Amount(0)) => {
                Err(Failure::invalid("a limit of zero would stop everything; leave it out for no limit"))
            }
            () => Ok(()),
        }
    }
    /// The measures at or over a threshold, hardest first.
    pub fn crossings(&self, totals: &Totals) -> Vec<Crossing> {
        let cost = totals.costs().find(|(currency, _)| *currency == self.currency).map(|(_, amount)| amount.0);
        let measures = [
            (Measure::Tokens, Some(totals.tokens()), self.max_tokens),
            (Measure::Cost, cost, self.max_cost.map(|a| a.0)),
            (Measure::WallTime, Some(totals.wall_ms), self.max_wall_ms),
        ];
        let mut found: Vec<Crossing> = measures
            .into_iter()
            .filter_map(|(measure, spent, limit)| {
                let (spent, limit) = (spent?, limit?);
                let soft = u128::from(limit) * u128::from(self.soft_percent) / 100;
                let level = if spent >= limit {
                    Level::Hard
                } else if u128::from(spent) >= soft {
                    Level::Soft
                } else {
                    return None;
                };
                Some(Crossing { measure, level, spent, limit, foreign: None })
            })
            .collect();
        // Nobody can say that it is inside the limit.
        if let Some(limit) = self.max_cost {
            let foreign = totals.costs().filter(|(currency, amount)| *currency != self.currency && amount.0 > 0);
            found.extend(foreign.map(|(currency, amount)| Crossing { measure: Measure::Cost, level: Level::Hard, spent: amount.0, limit: limit.0, foreign: Some(currency.to_owned()) }));
        }
        found.sort_by_key(|c| c.level);
        found
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Tokens,
    Cost,
    WallTime,
}

/// Hard sorts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Hard,
    Soft,
}

/// One measure at or over a threshold. Tokens, millionths of the currency, or milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Crossing {
    pub measure: Measure,
    pub level: Level,
    pub spent: u64,
    pub limit: u64,
    /// The currency of what was spent, when it is not the limit's and so cannot be compared with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<String>,
}

impl Crossing {
    /// "12,000 of 10,000 tokens".
    pub fn sentence(&self, currency: &str) -> String {
        if let Some(foreign) = &self.foreign {
            return format!("{} {foreign}, which cannot be compared with the limit of {} {currency}", Amount(self.spent), Amount(self.limit));
        }
        match self.measure {
            Measure::Tokens => format!("{} of {} tokens", self.spent, self.limit),
            Measure::Cost => format!("{} of {} {currency}", Amount(self.spent), Amount(self.limit)),
            Measure::WallTime => format!("{} of {} seconds in turns", self.spent / 1000, self.limit / 1000),
        }
    }
}

/// Whose budget it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum BudgetScope {
    Project,
    Packet { wp_id: crate::ids::WpId },
    Session { session_id: crate::ids::SessionId },
}

impl BudgetScope {
    /// For a sentence: "the packet WP-0001".
    pub fn name(&self) -> String {
        match self {
            Self::Project => "the project".to_owned(),
            Self::Packet { wp_id } => format!("the packet {wp_id}"),
            Self::Session { session_id } => format!("the session {}", session_id.short()),
        }
    }
}

/// The operator's prices, edited by hand; nothing is built in, because prices change and a wrong one misleads.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceTable {
    /// The operator's own mark of this edition, recorded with each estimate.
    pub version: String,
    /// By model id; a trailing `*` takes every id that begins so, the longest match wins.
    pub models: std::collections::BTreeMap<String, Price>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input_per_million: Amount,
    pub output_per_million: Amount,
    #[serde(default = "dollars")]
    pub currency: String,
}

fn dollars() -> String {
    "USD".to_owned()
}

impl PriceTable {
    /// The price of a model: the exact id, else the longest pattern.
    pub fn price(&self, model: &str) -> Option<&Price> {
        self.models.get(model).or_else(|| {
            let fits = |pattern: &&String| pattern.strip_suffix('*').is_some_and(|head| model.starts_with(head));
            let longest = self.models.keys().filter(fits).max_by_key(|pattern| pattern.len())?;
            self.models.get(longest)
        })
    }
    pub fn estimate(&self, model: &str, tokens_in: u64, tokens_out: u64) -> Option<Cost> {
        let price = self.price(model)?;
        let micros = u128::from(tokens_in) * u128::from(price.input_per_million.0) + u128::from(tokens_out) * u128::from(price.output_per_million.0);
        let amount = Amount(u64::try_from(micros / u128::from(MICROS)).unwrap_or(u64::MAX));
        Some(Cost { amount, currency: price.currency.clone(), source: CostSource::Estimated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, micros, shown) in [("4.10", 4_100_000, "4.10"), ("0", 0, "0.00"), ("12.000001", 12_000_001, "12.000001"), ("7.5", 7_500_000, "7.50")] {
            assert_eq!(Amount::parse(text).unwrap(), Amount(micros), "{text}");
            assert_eq!(Amount(micros).to_string(), shown);
        }
        for bad in ["", ".5", "5.", "-1", "1e3", "1,5", "0.0000001", " 1", "99999999999999999999"] {
            assert!(Amount::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Amount::from_f64(0.1), Some(Amount(100_000)));
        assert_eq!(Amount::from_f64(1.0e20), Some(Amount(u64::MAX)), "beyond reason is beyond every limit");
        for bad in [f64::NAN, -0.5] {
            assert_eq!(Amount::from_f64(bad), None, "{bad}");
        }
    }

    #[test]
    fn soft_and_hard_thresholds() {
        let budget = Budget { max_tokens: Some(1_000), max_cost: Some(Amount(10)), max_wall_ms: Some(500), ..Budget::default() };
        assert!(budget.crossings(&Totals { tokens_in: 700, tokens_out: 99, ..Totals::default() }).is_empty());
        let at = |tokens| budget.crossings(&Totals { tokens_in: tokens, ..Totals::default() });
        assert_eq!(at(800)[0].level, Level::Soft);
        assert_eq!(at(1_000)[0].level, Level::Hard);
        let both = budget.crossings(&Totals { tokens_in: 900, wall_ms: 501, ..Totals::default() });
        assert_eq!(both.iter().map(|c| (c.measure, c.level)).collect::<Vec<_>>(), [(Measure::WallTime, Level::Hard), (Measure::Tokens, Level::Soft)]);
    }

    #[test]
    fn costs_of_another_currency_are_not_mixed() {
        let mut totals = Totals::default();
        totals.report_cost(Amount(5), "USD");
        totals.report_cost(Amount(3), "USD");
        totals.report_cost(Amount(900), "EUR");
        assert_eq!(totals.cost.as_ref().unwrap().amount, Amount(5), "cumulative: the largest of its currency stands");
        assert_eq!(totals.elsewhere["EUR"], Amount(900), "kept apart");
        let euro = Totals { cost: Some(Cost { amount: Amount(7), currency: "EUR".into(), source: CostSource::Reported }), ..Totals::default() };
        totals.add(&euro);
        assert_eq!((totals.cost.as_ref().unwrap().amount, totals.elsewhere["EUR"]), (Amount(5), Amount(907)), "named, not summed");
        let mut sum = euro.clone();
        sum.add(&totals);
        assert_eq!((sum.cost.as_ref().unwrap().amount, sum.elsewhere["USD"]), (Amount(914), Amount(5)));
    }

    #[test]
    fn a_cost_that_cannot_be_compared_is_never_inside_a_limit() {
        let budget = Budget { max_cost: Some(Amount(1_000_000)), ..Budget::default() };
        let mut totals = Totals::default();
        totals.report_cost(Amount(0), "EUR");
        assert!(budget.crossings(&totals).is_empty(), "nothing is nothing in every currency");
        totals.report_cost(Amount(500_000_000), "EUR");
        let found = budget.crossings(&totals);
        assert_eq!((found[0].level, found[0].foreign.as_deref()), (Level::Hard, Some("EUR")));
        assert_eq!(found[0].sentence("USD"), "500.00 EUR, which cannot be compared with the limit of 1.00 USD");
        assert!(Budget { max_tokens: Some(5), ..Budget::default() }.crossings(&totals).is_empty(), "without a limit of cost there is nothing to compare");
    }

    #[test]
    fn an_estimate_never_replaces_a_report() {
        let table = PriceTable {
            version: "1".into(),
            models: [("m-*".to_owned(), Price { input_per_million: Amount(3_000_000), output_per_million: Amount(15_000_000), currency: "USD".into() })].into(),
        };
        let mut totals = Totals { tokens_in: 1_000_000, tokens_out: 100_000, ..Totals::default() };
        totals.estimate_cost(Some("m-large"), &table);
        assert_eq!(totals.cost.clone().unwrap(), Cost { amount: Amount(4_500_000), currency: "USD".into(), source: CostSource::Estimated });
        totals.report_cost(Amount(1), "USD");
        totals.estimate_cost(Some("m-large"), &table);
        assert_eq!(totals.cost.unwrap(), Cost { amount: Amount(1), currency: "USD".into(), source: CostSource::Reported });
        assert!(table.estimate("other", 1, 1).is_none(), "an unknown model has no price");
    }

    proptest! {
        #[test]
        fn amounts_survive_the_wire(micros in any::<u64>()) {
            prop_assert_eq!(Amount::parse(&Amount(micros).to_string()).unwrap(), Amount(micros));
        }
        #[test]
        fn more_spent_is_never_a_softer_level(spent in 0u64..2_000, more in 0u64..2_000, limit in 1u64..1_000, soft in 1u8..100) {
            let budget = Budget { max_tokens: Some(limit), soft_percent: soft, ..Budget::default() };
            let level = |tokens_in| budget.crossings(&Totals { tokens_in, ..Totals::default() }).first().map(|c| c.level);
            let (less, later) = (level(spent), level(spent + more));
            prop_assert!(less.is_none() || later.is_some_and(|l| Some(l) <= less));
        }
    }
}
