//! Orders: which of them a drive belongs to, and what that makes of the drive.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::api::orders::{OrderFileView, OrderView};
use model::code::{DenialCode, ReasonCode};
use model::failure::{Denial, Refusal};
use model::layout::Layout;
use model::media::Media;
use model::now::Now;
use model::offer::Offer;
use model::orders::{
    Book, Choice, Order, OrderAct, OrderChange, OrderPlace, Standing, Unit, objection,
};

use crate::Station;
use crate::catalog::MediaUnavailable;
use crate::expiry;
use crate::insertion::{Insertion, OfOrder};
use crate::message::{Answer, AskedOrder, DriveFacts, Effect, Reply};

/// The orders that are not closed.
#[derive(Debug, Default)]
pub(crate) struct OpenOrders {
    pub(crate) book: Book,
    /// How they stood when the ledger was asked last, for views.
    standings: BTreeMap<String, Standing>,
    /// When the current event happens.
    pub(crate) now: Now,
    /// Files of orders that are not taken up.
    pub(crate) files: Vec<OrderFileView>,
    /// Why results cannot be handed on.
    pub(crate) results: Option<String>,
}

impl OpenOrders {
    pub(crate) fn of(orders: Vec<(Order, Standing)>, now: Now) -> Self {
        let standings = orders.iter().map(|(o, standing)| (o.number.clone(), standing.clone()));
        let standings = standings.collect();
        let book = Book::new(orders.into_iter().map(|(order, _)| order));
        Self { book, standings, now, ..Self::default() }
    }
}

/// What a drive gets.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) media: Arc<Media>,
    pub(crate) image: u32,
    pub(crate) layout: Layout,
    /// The order that it belongs to, and its place there.
    pub(crate) order: Option<(OfOrder, OrderPlace)>,
}

/// The refusal of a drive that waited for an order which does not take it any more: it was closed, or wants other drives
/// now. That is nobody's word for other media.
fn left_by(order: &str) -> Refusal {
    let detail = format!("order {order}, for which it waited, does not take it any more");
    Refusal::new(ReasonCode::NoOrder, detail)
        .with_hint("`prestagectl retry DRIVE` gives it what drives without an order get")
}

/// What a drive gets, or the reason why it gets nothing.
pub(crate) type Choosing = Result<Chosen, MediaUnavailable>;

impl<M: Clone> Station<M> {
    /// The open order with this number, by which somebody calls it.
    pub(crate) fn open_order(&self, number: &str) -> Result<&Order, Denial> {
        self.orders.book.get(number).ok_or_else(|| {
            let detail = format!("there is no open order {number}");
            let denial = Denial::new(DenialCode::NoSuchOrder, detail);
            denial.with_hint("see `prestagectl order list`")
        })
    }

    /// What drives get that belong to no order.
    pub(crate) fn usual(&self, media: Arc<Media>) -> Chosen {
        let layout = self.setup.layout.clone();
        Chosen { media, image: self.setup.image, layout, order: None }
    }

    /// The orders about which the ledger is asked for a drive.
    pub(crate) fn asked_orders(&self, insertion: &Insertion) -> Vec<AskedOrder> {
        if insertion.requested_media.is_some() {
            return Vec::new();
        }
        let tolerance = self.setup.policy.size_tolerance;
        let named = insertion.requested_order.as_deref();
        let candidates = self.orders.book.candidates((&insertion.drive).into(), tolerance, named);
        let asked = |order: &Order| AskedOrder {
            number: order.number.clone(),
            article: self.setup.articles.of(order),
        };
        candidates.into_iter().map(asked).collect()
    }

    /// What the drive would get, before the ledger was asked how its order stands.
    pub(crate) fn expected(&self, insertion: &Insertion) -> Choosing {
        match self.order_of(insertion) {
            Choice::One(order) => self.media_of(order).map(|(media, layout)| Chosen {
                media,
                image: self.setup.articles.image(order),
                layout,
                order: None,
            }),
            Choice::None | Choice::Refused(_) => self.without_order(insertion),
        }
    }

    fn order_of(&self, insertion: &Insertion) -> Choice<'_> {
        // Whoever names media has decided.
        if insertion.requested_media.is_some() {
            return Choice::None;
        }
        let tolerance = self.setup.policy.size_tolerance;
        let named = insertion.requested_order.as_deref();
        self.orders.book.choose((&insertion.drive).into(), tolerance, named, self.orders.now)
    }

    /// What a drive gets: what its order says, or else the media that was named or is offered automatically. The second
    /// value is the order that it belongs to, also if that does not take it.
    pub(crate) fn choose(
        &self,
        insertion: &Insertion,
        facts: &DriveFacts,
    ) -> (Choosing, Option<OfOrder>) {
        let refused = |refusal| Err(MediaUnavailable::Missing(refusal));
        let order = match self.order_of(insertion) {
            Choice::Refused(refusal) => return (refused(refusal), None),
            Choice::None => {
                return match &insertion.order {
                    Some(order) if insertion.requested_media.is_none() => {
                        (refused(left_by(&order.number)), Some(order.clone()))
                    }
                    _ => (self.dated(insertion), None),
                };
            }
            Choice::One(order) => order,
        };
        let unit = facts.units.get(&order.number).copied().unwrap_or_default();
        let of_order = OfOrder { number: order.number.clone(), attempt: unit.attempts + 1 };
        let chosen = self
            .of_order(order, facts, unit)
            .map(|(chosen, place)| Chosen { order: Some((of_order.clone(), place)), ..chosen });
        (chosen, Some(of_order))
    }

    fn of_order(
        &self,
        order: &Order,
        facts: &DriveFacts,
        unit: Unit,
    ) -> Result<(Chosen, OrderPlace), MediaUnavailable> {
        let (number, now) = (&order.number, self.orders.now);
        let missing = |refusal| MediaUnavailable::Missing(refusal);
        let no_order = |detail: String| missing(Refusal::new(ReasonCode::NoOrder, detail));
        let Some(standing) = facts.orders.get(number) else {
            return Err(no_order(format!("order {number} is not in the ledger")));
        };
        let Some(article) = self.setup.articles.of(order) else {
            let layout = order.layout.as_deref().unwrap_or_default();
            return Err(no_order(format!("order {number}: there is no layout {layout:?}")));
        };
        if let Some(refusal) = objection(order, standing, unit, &article, now) {
            return Err(missing(refusal));
        }
        let (media, layout) = self.media_of(order)?;
        expiry::check(&self.setup.expires, &media, now).map_err(missing)?;
        let image = self.setup.articles.image(order);
        let place = OrderPlace { number: number.clone(), article, now };
        Ok((Chosen { media, image, layout, order: None }, place))
    }

    /// Media and layout of an order.
    fn media_of(&self, order: &Order) -> Result<(Arc<Media>, Layout), MediaUnavailable> {
        let number = &order.number;
        let layout = self.setup.articles.layout(order).unwrap_or(&self.setup.layout).clone();
        let Some(media) = self.catalog.valid_with(order.media) else {
            if self.catalog.is_being_read() {
                return Err(MediaUnavailable::Undecided);
            }
            let name =
                order.media_name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
            let detail = format!(
                "the media of order {number} is not in the inbox, or not usable: {name}SHA-256 {}",
                order.media
            );
            let refusal = Refusal::new(ReasonCode::NoMedia, detail);
            let hint = "copy it there; the drive is then taken up by itself";
            return Err(MediaUnavailable::Missing(refusal.with_hint(hint)));
        };
        let image = self.setup.articles.image(order);
        if !media.images.is_empty() && !media.images.iter().any(|one| one.index == image) {
            let detail = format!("order {number}: media {} has no image {image}", media.name);
            let refusal = Refusal::new(ReasonCode::MediaInvalid, detail);
            return Err(MediaUnavailable::Missing(refusal));
        }
        Ok((media, layout))
    }

    /// What a drive gets that belongs to no order.
    fn without_order(&self, insertion: &Insertion) -> Choosing {
        let chosen = self.catalog.choose(insertion.requested_media.as_deref());
        let nothing = matches!(
            &chosen,
            Err(MediaUnavailable::Missing(refusal)) if refusal.code == ReasonCode::NoMedia
        );
        if nothing && insertion.requested_media.is_none() && !self.orders.book.is_empty() {
            let tolerance = self.setup.policy.size_tolerance;
            let drive = (&insertion.drive).into();
            let refusal = self.orders.book.nothing_for(drive, tolerance);
            return Err(MediaUnavailable::Missing(refusal));
        }
        chosen.map(|media| self.usual(media))
    }

    /// The same, unless the media has expired. Its last day is not found in the media, so the configuration has it.
    fn dated(&self, insertion: &Insertion) -> Choosing {
        let chosen = self.without_order(insertion)?;
        expiry::check(&self.setup.expires, &chosen.media, self.orders.now)
            .map_err(MediaUnavailable::Missing)?;
        Ok(chosen)
    }

    /// Asks the ledger for changes of orders, unless one names a layout that there is not.
    pub(crate) fn change_orders(&self, changes: Vec<OrderChange>, reply: Reply) -> Effect<M> {
        let unknown = changes.iter().find_map(|change| match &change.act {
            OrderAct::Add(order) | OrderAct::AddByFile(order)
                if self.setup.articles.layout(order).is_none() =>
            {
                let layout = order.layout.clone().unwrap_or_default();
                Some(format!("order {}: there is no layout {layout:?}", order.number))
            }
            _ => None,
        });
        let Some(detail) = unknown else { return Effect::Orders(changes, reply) };
        let layouts = self.setup.articles.layouts.iter().map(|layout| layout.name.as_str());
        let hint = format!("layouts are {}", layouts.collect::<Vec<_>>().join(", "));
        let denial = Denial::new(DenialCode::BadRequest, detail).with_hint(hint);
        Effect::Answer(reply, Err(denial))
    }

    /// The ledger has the orders that are open now.
    pub(crate) fn orders_changed(
        &mut self,
        orders: Vec<(Order, Standing)>,
        reply: Option<Reply>,
    ) -> Vec<Effect<M>> {
        let OpenOrders { book, standings, .. } = OpenOrders::of(orders, self.orders.now);
        (self.orders.book, self.orders.standings) = (book, standings);
        let mut effects = self.judge_changeable();
        effects.extend(reply.map(|reply| Effect::Answer(reply, Ok(Answer::Done))));
        effects
    }

    /// Orders stand otherwise than before: places may have become free.
    pub(crate) fn stand_anew(&mut self, standings: Vec<(String, Standing)>) -> Vec<Effect<M>> {
        self.orders.standings.extend(standings);
        self.judge_changeable()
    }

    /// The question how the order of a job stands, now that the job has ended.
    pub(crate) fn look_at_order(&self, number: &str) -> Option<Effect<M>> {
        let order = self.orders.book.get(number)?;
        let article = self.setup.articles.of(order);
        Some(Effect::LookAtOrders(vec![AskedOrder { number: number.to_owned(), article }]))
    }

    pub(crate) fn order_views(&self) -> Vec<OrderView> {
        let view = |order: &Order| {
            let article = self.setup.articles.of(order);
            let standing = self.orders.standings.get(&order.number).cloned().unwrap_or_default();
            let runs = |one: &&Insertion| {
                one.is_running() && one.order.as_ref().is_some_and(|of| of.number == order.number)
            };
            let running = self.insertions.values().filter(runs).count();
            let running = u32::try_from(running).unwrap_or(u32::MAX);
            OrderView {
                running,
                ..OrderView::of(order, &standing, article.as_ref(), self.orders.now)
            }
        };
        let shown = self.orders.book.iter().filter(|order| order.offer != Offer::Hidden);
        shown.map(view).collect()
    }
}
