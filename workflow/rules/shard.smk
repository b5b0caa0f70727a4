rule shard:
    output:
        HEADRACE.receipt("shard"),
    log:
        HEADRACE.log("shard"),
    conda:
        "../../envs/headrace.yaml"
    threads: HEADRACE.default("shard", "threads")
    resources:
        mem_mb=HEADRACE.default("shard", "mem_mb"),
        runtime=HEADRACE.default("shard", "runtime"),
        dask_cluster="local",
        dask_workers=2,
        dask_worker_mem_mb=1024,
        dask_options="",
        dask_jobs=1,
    params:
        job="{job}",
    shell:
        "headrace shard {output:q} --cluster {resources.dask_cluster:q}"
        " --workers {resources.dask_workers:q} --worker-memory-mib {resources.dask_worker_mem_mb:q}"
        " --cluster-options={resources.dask_options:q}"
        " --memory-mib {resources.mem_mb:q} --runtime-min {resources.runtime:q} --cores {threads:q}"
        " > {log:q} 2>&1"
