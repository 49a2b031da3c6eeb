// What is compressed in the page, unpacked by the browser itself: the numbers, the details, and the library that draws.
window.openrlb = (() => {
  "use strict";
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob(JSON.parse(document.getElementById(id).textContent)), (letter) => letter.charCodeAt(0));
    const gzip = new DecompressionStream("gzip");
    const writer = gzip.writable.getWriter();
    const written = Promise.all([writer.write(bytes), writer.close()]);
    const text = await new Response(gzip.readable).text();
    await written;
    return JSON.parse(text);
  };
  // The page's policy names the library's hash: nothing else that is unpacked could run.
  const library = async () => {
    const script = document.createElement("script");
    script.textContent = await unpack("plotly-library");
    document.head.append(script);
    return Plotly;
  };
  return { unpack, plotly: document.getElementById("plotly-library") ? library() : null };
})();
