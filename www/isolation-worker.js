// Isolates the demo where its server does not. A service worker reaches the pages of its own folder, so it stands here.

importScripts("./pkg/isolation-worker.js");
