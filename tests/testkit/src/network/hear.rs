//! What a process hears of the broker.

use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::Client;

/// What becomes of a message that is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unheard {
    /// It is lost.
    IsLost,
    /// It waits until it is heard.
    Waits,
}

impl Client {
    /// Listens to `heard` over the link: what comes while the process is stopped waits for it.
    pub(super) fn hear<T: Send + 'static>(
        &self,
        heard: BoxStream<'static, T>,
        unheard: Unheard,
    ) -> BoxStream<'static, T> {
        let client = self.clone();
        let heard = heard.filter_map(move |item| {
            let client = client.clone();
            async move { client.hears(unheard).await.then_some(item) }
        });
        heard.boxed()
    }

    async fn hears(&self, unheard: Unheard) -> bool {
        self.link.running().await;
        match unheard {
            Unheard::Waits => {
                self.link.mended().await;
                self.link.running().await;
                true
            }
            Unheard::IsLost => {
                let lost = self.link.is_cut() || self.network.is_unheard();
                if lost {
                    self.witness().reached("message unheard");
                }
                !lost
            }
        }
    }
}
