//! One derivation: a worker writes what the master has of its own, the station takes that over, hashes it, and keeps it.
//!
//! The comparison with the media was the base's. What a derived master has of it keeps the base's digests, so a drive that
//! reads back right holds these very bytes; what it has of its own is the sizes of a volume and where partitions lie.

use std::collections::HashSet;

use masters::derive::Derived;
use masters::image;
use masters::layers::Image;
use masters::store::{Master, Staging};
use media::press::derive::DeriveTask;
use model::api::line::Progress;
use model::code::FailureCode;
use model::failure::Failure;
use model::manifest::{Manifest, MasterId, Recipe};
use model::units::Bytes;
use tokio::task::spawn_blocking;

use super::{
    OpenMaster, Report, Services, Taken, kept, panicked, prepared, store_failed, wait_for_writers,
};

/// About what a derived master takes of the store: its manifests.
const ROOM: Bytes = Bytes::mib(16);

/// Derives the master of a recipe from its base.
pub(super) async fn derive(
    base: &OpenMaster,
    recipe: Recipe,
    in_use: &HashSet<MasterId>,
    services: &Services,
    report: &Report,
) -> Result<OpenMaster, Failure> {
    report(Progress { step: "deriving".into(), fraction: 0.0 });
    let (store, id) = (services.store.clone(), recipe.id());
    let mut in_use = in_use.clone();
    in_use.insert(base.manifest.id.clone());
    let staging = prepared(store.clone(), id.clone(), ROOM, in_use).await?;
    let image = base.image.own().try_clone().map_err(|error| {
        Failure::new(FailureCode::StoreError, format!("cannot open the base's image: {error}"))
    })?;
    let (manifest, folder) = (base.manifest.clone(), staging.path().to_owned());
    let task = DeriveTask { base: manifest, recipe, staging: folder };
    let made = services.workers.run_with(&task, &[image.into()], |_| ()).await;
    let (base, services) = (base.clone(), services.clone());
    let hash = spawn_blocking(move || described(&services, &staging, &base, task.recipe, made?));
    let made = hash.await.unwrap_or_else(|error| Err(panicked(&error)));
    let master = kept(store, made).await?;
    let Recipe { media_name, geometry, .. } = &master.manifest.recipe;
    tracing::info!(
        master = %id, media = media_name, %geometry,
        "derived a master of {media_name} for drives of {geometry}"
    );
    Ok(master)
}

/// Takes over what the worker has made, and hashes it.
fn described(
    services: &Services,
    staging: &Staging,
    base: &Master,
    recipe: Recipe,
    derived: Derived,
) -> Result<(Taken, Manifest), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(FailureCode::PressFailed, error);
    let plan = recipe.layout.plan(recipe.geometry).map_err(|error| failed(&error))?;
    let (id, size) = (recipe.id(), recipe.geometry.size);
    let taken = services.store.take_over(staging, &id, size);
    let taken = taken.map_err(|error| store_failed(&error))?;
    wait_for_writers(&taken.image)?;
    let moved = plan.moved_from(&base.manifest.plan).unwrap_or_default();
    let files = taken.image.try_clone().and_then(|own| Ok((own, base.image.own().try_clone()?)));
    let image = files.and_then(|(own, below)| Image::derived(own, below, moved, &derived.own));
    let image = image.map_err(|error| failed(&error))?;
    let paths = services.replicator.hashing().paths();
    let manifest = image::describe_derived(&image, base, recipe, plan, derived, paths);
    Ok((taken, manifest.map_err(|error| failed(&error))?))
}
