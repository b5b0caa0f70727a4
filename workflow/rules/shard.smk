rule shard:
    output:
        HEADRACE.receipt("shard"),
    log:
        HEADRACE.log("shard"),
    conda:
        "../../envs/headrace.yaml"
    threads: 2
    resources:
        mem_mb=4096,
        runtime=60,
        dask_cluster="local",
        dask_workers=2,
        dask_worker_mem_mb=1024,
    params:
        job="{job}",
    shell:
        "headrace shard {output:q} --cluster {resources.dask_cluster:q}"
        " --workers {resources.dask_workers:q} --worker-memory-mib {resources.dask_worker_mem_mb:q}"
        " > {log:q} 2>&1"
