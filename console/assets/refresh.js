(() => {
  "use strict";
  const period = 2000;
  const busy = () => {
    const s = getSelection();
    return document.hidden || (s && !s.isCollapsed);
  };
  const refresh = async () => {
    if (busy()) return;
    try {
      const answer = await fetch(location.pathname, {cache: "no-store"});
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.getElementById("live"), now = document.getElementById("live");
      if (busy() || !next) return;
      const focused = now.contains(document.activeElement) && document.activeElement.getAttribute("href");
      now.replaceWith(document.adoptNode(next));
      if (focused) {
        const link = next.querySelector('a[href="' + CSS.escape(focused) + '"]');
        if (link) link.focus({preventScroll: true});
      }
      document.body.classList.remove("stale");
    } catch {
      document.body.classList.add("stale");
    }
  };
  const loop = () => setTimeout(() => refresh().finally(loop), period);
  loop();
  document.addEventListener("visibilitychange", refresh);
})();
