//! Orders: read from the ledger, changed by the station.

use axum::Json;
use axum::body::Bytes as Chunk;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use model::api::command::Command;
use model::api::orders::{OrderDetail, OrderDrive, OrderView};
use model::api::requests::{OrderQuery, OrderRequest};
use model::api::snapshot::DeviceView;
use model::code::DenialCode as Code;
use model::offer::Offer;
use model::operator::{LONGEST_REASON, Operator};
use model::orders::{Matcher, Order, OrderAct, OrderChange, OrderState};
use record::orders::{AlsoClosed, Counted, KnownOrder};

use super::peer::Peer;
use super::records::from_ledger;
use super::{Context, Problem, Result, answered, ask, bad_request, parse};

/// The largest body with orders: lists of serial numbers come with them.
pub(super) const BODY_LIMIT: usize = 16 << 20;

pub(super) async fn orders(
    State(context): State<Context>,
    Query(query): Query<OrderQuery>,
) -> Result<Json<Vec<OrderView>>> {
    let closed = if query.all { AlsoClosed::Yes } else { AlsoClosed::No };
    let known = known(&context, closed).await?;
    let shown = known.iter().filter(|known| query.all || known.order.offer != Offer::Hidden);
    let mut views = Vec::new();
    for known in shown {
        let mut view = view(&context, known);
        // Drives of closed orders have gone to the customer, and others may have come back since.
        if known.standing.state != OrderState::Closed && known.standing.passed > 0 {
            view.not_as_passed = Some(counted(&context, &known.order).await?.not_as_passed.len());
        }
        views.push(view);
    }
    Ok(Json(views))
}

/// The drives that count for an order.
async fn counted(context: &Context, order: &Order) -> Result<Counted> {
    let (number, media) = (order.number.clone(), order.media);
    from_ledger(&context.ledger, move |ledger| ledger.counted(&number, media)).await
}

async fn known(context: &Context, closed: AlsoClosed) -> Result<Vec<KnownOrder>> {
    let articles = context.articles.clone();
    let read = move |ledger: record::ledger::Ledger| {
        ledger.orders(closed, &|order: &Order| articles.of(order))
    };
    from_ledger(&context.ledger, read).await
}

fn view(context: &Context, known: &KnownOrder) -> OrderView {
    let article = context.articles.of(&known.order);
    OrderView::of(&known.order, &known.standing, article.as_ref(), context.clock.now())
}

pub(super) async fn order_of(
    State(context): State<Context>,
    Path(number): Path<String>,
) -> Result<Json<OrderDetail>> {
    let mut all = known(&context, AlsoClosed::Yes).await?;
    let Some(at) = all.iter().position(|known| known.order.number == number) else {
        return Err(Problem::new(Code::NoSuchOrder, format!("there is no order {number}")));
    };
    let known = all.swap_remove(at);
    let Counted { to_ship, not_as_passed } = counted(&context, &known.order).await?;
    let standing = OrderView { not_as_passed: Some(not_as_passed.len()), ..view(&context, &known) };
    let history = from_ledger(&context.ledger, move |ledger| ledger.order_history(&number)).await?;
    let matcher = Matcher::new(&known.order.conditions);
    let beside = |device: &DeviceView| {
        let differences = matcher.differences(device.into(), context.size_tolerance);
        OrderDrive {
            device: device.device.clone(),
            serial: device.serial.clone(),
            bay: device.bay.clone(),
            matches: differences.is_empty(),
            why: differences.iter().map(ToString::to_string).collect(),
        }
    };
    let snapshot = std::sync::Arc::clone(&context.snapshot.borrow());
    let ours =
        |device: &&DeviceView| snapshot.drives.iter().any(|drive| drive.device == device.device);
    let drives = snapshot.devices.iter().filter(ours).map(beside).collect();
    Ok(Json(OrderDetail { order: known.order, standing, history, to_ship, not_as_passed, drives }))
}

pub(super) async fn add_orders(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Chunk,
) -> Result<Response> {
    let orders: Vec<Order> = parse(&body)?;
    let by = peer.operator().await?;
    let at = Timestamp::now();
    let change = |order: Order| {
        order.check().map_err(|error| bad_request(format!("order {}: {error}", order.number)))?;
        let (number, act) = (order.number.clone(), OrderAct::Add(Box::new(order)));
        Ok(OrderChange { number, act, reason: None, by: by.clone(), at })
    };
    let changes = orders.into_iter().map(change).collect::<Result<Vec<_>>>()?;
    if changes.is_empty() {
        return Err(bad_request("there is no order in it"));
    }
    ask(&context, Command::Orders(changes)).await.map(answered)
}

pub(super) async fn change_order(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((number, act)): Path<(String, String)>,
    body: Chunk,
) -> Result<Response> {
    let request: OrderRequest = parse(&body)?;
    let by = peer.operator().await?;
    let change = change(number, &act, request, by)?;
    ask(&context, Command::Orders(vec![change])).await.map(answered)
}

fn change(number: String, act: &str, request: OrderRequest, by: Operator) -> Result<OrderChange> {
    let OrderRequest { reason, quantity, serial } = request;
    let reason = reason.map(|text| text.trim().replace(char::is_control, "?"));
    let reason = reason.filter(|text| !text.is_empty());
    if reason.as_ref().is_some_and(|text| text.chars().count() > LONGEST_REASON) {
        return Err(bad_request(format!("the reason is longer than {LONGEST_REASON} characters")));
    }
    let why = |act| match &reason {
        Some(_) => Ok(act),
        None => Err(bad_request("say why (reason)")),
    };
    let act = match (act, quantity, serial) {
        ("hold", None, None) => OrderAct::Hold,
        ("resume", None, None) => OrderAct::Resume,
        ("approve", None, None) => OrderAct::Approve,
        ("close", None, None) => why(OrderAct::Close)?,
        ("quantity", Some(0), None) => return Err(bad_request("the quantity must be 1 or more")),
        ("quantity", Some(quantity), None) => why(OrderAct::Quantity(quantity))?,
        ("release", None, Some(serial)) => why(OrderAct::Release(serial))?,
        ("quantity" | "release" | "hold" | "resume" | "approve" | "close", ..) => {
            return Err(bad_request(format!("{act} takes other fields than these")));
        }
        _ => {
            let detail = format!("{act:?} is nothing that is done to an order");
            return Err(Problem::new(Code::NoSuchPath, detail));
        }
    };
    Ok(OrderChange { number, act, reason, by, at: Timestamp::now() })
}
