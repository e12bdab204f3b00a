//! One press: makes room in the store, runs the worker, and puts the finished master into the store.

use std::collections::HashSet;

use masters::store::StoreError;
use media::press::PressTask;
use model::code::FailureCode;
use model::failure::{Failure, chain};
use model::manifest::{MasterId, Recipe};
use model::media::MediaFile;
use model::units::Bytes;
use station::Event;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

use super::{OpenMaster, Services};

/// Room that partition tables, file systems and NTFS's own files take beyond the content.
const OVERHEAD: Bytes = Bytes::mib(96);

/// The task of one press.
pub(super) struct Press {
    pub(super) recipe: Recipe,
    /// The files of the media.
    pub(super) files: Vec<MediaFile>,
    /// About how much room the content will take.
    pub(super) room: Bytes,
    /// Masters that must not be removed to make room.
    pub(super) in_use: HashSet<MasterId>,
}

fn store_failed(error: &StoreError) -> Failure {
    Failure::of(error.code(), error).with_hint_of(error)
}

fn panicked(error: &JoinError) -> Failure {
    Failure::of(FailureCode::InternalError, error)
}

impl Press {
    pub(super) async fn run(
        self,
        services: &Services,
        sender: &mpsc::Sender<Event<OpenMaster>>,
    ) -> Result<OpenMaster, Failure> {
        let Self { recipe, files, room, in_use } = self;
        let id = recipe.id();
        let (store, own) = (services.store.clone(), id.clone());
        let prepare = spawn_blocking(move || {
            let needed = room.saturating_add(OVERHEAD);
            store.make_room(needed, &in_use)?;
            store.check_space(needed)?;
            store.staging(&own)
        });
        let prepared = prepare.await.map_err(|error| panicked(&error))?;
        let staging = prepared.map_err(|error| store_failed(&error))?;
        let tools = services.tools.clone();
        let task = PressTask { files, recipe, tools, staging: staging.clone() };
        let report = |progress| {
            // A busy station may miss progress; only the end must reach it.
            let _ = sender.try_send(Event::PressProgress(id.clone(), progress));
        };
        let pressed = services.workers.run(&task, report).await;
        let (store, own) = (services.store.clone(), id.clone());
        let keep = spawn_blocking(move || match pressed {
            Ok(()) => store.adopt(&staging, &own).map_err(|error| store_failed(&error)),
            Err(failure) => {
                if let Err(error) = store.discard(&staging) {
                    tracing::error!("{}", chain(&error));
                }
                Err(failure)
            }
        });
        keep.await.unwrap_or_else(|error| Err(panicked(&error)))
    }
}
